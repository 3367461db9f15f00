"""The inner width that tensor fusion chooses for itself: none where the inputs fit, else the fused width or less."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.tensor import TensorFusion


def count(fusion):
    return sum(parameter.numel() for parameter in fusion.parameters())


def test_inputs_that_fit_are_taken_as_they_are():
    fusion = TensorFusion({"a": 10, "b": 20})
    assert (fusion.chosen, fusion.project) == ({}, None)
    assert count(fusion) == (11 * 21 + 1) * 128


@pytest.mark.parametrize(
    ("widths", "width", "inner"),
    [
        # Of EfficientNet-lite0 and MiniLM: 1281 x 385 x 128 are 63 million.
        ((1280, 384), 128, 128),
        # (72 + 1) ** 3 x 128 and the projections fit into 50 million, 73 do not.
        ((512, 512, 512), 128, 72),
        ((4000, 4000), 16, 16),
    ],
)
def test_wide_inputs_are_projected_to_the_fused_width_or_the_greatest_that_fits(widths, width, inner):
    named = {str(number): d for number, d in enumerate(widths)}
    fusion = TensorFusion(named, width=width)
    assert fusion.chosen == {"inner": inner}
    assert count(fusion) == ((inner + 1) ** len(widths) + 1) * width + inner * sum(widths) <= 50_000_000
    if inner < width:
        more = inner + 1
        assert ((more + 1) ** len(widths) + 1) * width + more * sum(widths) > 50_000_000
    features = {name: Features.of(torch.rand(2, d)) for name, d in named.items()}
    assert fusion(features).vector().shape == (2, width)


def test_a_given_inner_is_kept_or_refused():
    assert TensorFusion({"a": 1280, "b": 384}, inner=8).chosen == {}
    with pytest.raises(ValueError, match=r"\(1001 x 1001\) to width 128 needs"):
        TensorFusion({"a": 1280, "b": 384}, inner=1000)


def test_a_budget_that_holds_nothing_is_refused():
    with pytest.raises(ValueError, match="more than its budget of 100"):
        TensorFusion({"a": 64, "b": 64}, budget=100)
