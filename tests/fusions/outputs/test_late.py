"""Late fusion, against means of probabilities over the inputs that are there."""

import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.late import LateFusion


def _mean(fusion, case, sample, change):
    """Weighted mean of `change(output)` over what is there; None where nothing is."""
    there = [name for name in case.widths if case.vector(name, sample) is not None]
    scores = [0.0 if fusion.scores is None else fusion.scores[fusion.inputs.index(name)].item() for name in there]
    total = sum(math.exp(score) for score in scores)
    terms = [
        math.exp(score) / total * change(case.vector(name, sample)) for score, name in zip(scores, there, strict=True)
    ]
    return sum(terms) if terms else None


@pytest.fixture(params=["equal", "learned"])
def weights(request):
    return request.param


@pytest.fixture
def outputs(case):
    """The case with its widths made alike: the outputs of heads."""
    features = {
        name: Features.of(torch.randn(case.batch, 3, dtype=torch.float64) * 4, each.present())
        for name, each in case.features.items()
    }
    return type(case)(dict.fromkeys(case.widths, 3), features)


def test_classes_are_the_mean_of_probabilities(outputs, perturbed, same, weights):
    fusion = perturbed(LateFusion(outputs.widths, Target("classes", 3), weights=weights))
    fused = fusion(outputs.features).vector()
    uniform = torch.full((3,), 1 / 3, dtype=torch.float64)
    expected = []
    for sample in range(outputs.batch):
        mean = _mean(fusion, outputs, sample, lambda output: output.exp() / output.exp().sum())
        expected.append(uniform if mean is None else mean)
    same(fused.exp(), expected)
    same(fused.softmax(1), expected)


def test_labels_are_the_logits_of_the_mean(outputs, perturbed, same, weights):
    fusion = perturbed(LateFusion(outputs.widths, Target("labels", 3), weights=weights))
    half = torch.full((3,), 0.5, dtype=torch.float64)
    expected = []
    for sample in range(outputs.batch):
        mean = _mean(fusion, outputs, sample, lambda output: 1 / (1 + (-output).exp()))
        expected.append(half if mean is None else mean)
    same(fusion(outputs.features).vector().sigmoid(), expected)


def test_scalars_are_the_mean_of_values(outputs, perturbed, same, weights):
    fusion = perturbed(LateFusion(outputs.widths, Target("scalar", 3), weights=weights))
    zero = torch.zeros(3, dtype=torch.float64)
    means = [_mean(fusion, outputs, sample, lambda output: output) for sample in range(outputs.batch)]
    same(fusion(outputs.features).vector(), [zero if mean is None else mean for mean in means])


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_certain_heads_stay_finite(kind):
    sure = torch.tensor([[300.0, -300.0], [300.0, -300.0]], requires_grad=True)
    unsure = torch.tensor([[-300.0, 300.0], [300.0, -300.0]], requires_grad=True)
    fusion = LateFusion({"a": 2, "b": 2}, Target(kind, 2))
    fused = fusion({"a": Features.of(sure), "b": Features.of(unsure)}).vector()
    fused.sum().backward()
    assert fused.isfinite().all()
    assert sure.grad.isfinite().all()
    probabilities = fused.softmax(1) if kind == "classes" else fused.sigmoid()
    torch.testing.assert_close(probabilities, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))


def test_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match=r"labels or scalars; the target is 'text': take a fusion of features"):
        LateFusion({"a": 3}, Target("text", 3))
    with pytest.raises(ValueError, match=r"each output has the target's size, 4; got \{'a': 3\}"):
        LateFusion({"a": 3}, Target("classes", 4))
