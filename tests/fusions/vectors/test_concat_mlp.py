"""Concatenation with a hidden layer, against the formula over the inputs that are there, one number at a time."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.fusions.vectors.concat_mlp import ConcatMlpFusion


def _normed(numbers):
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
    return [(number - mean) / math.sqrt(variance + 1e-5) for number in numbers]


AFTER = {
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "none": lambda x: x,
}


@pytest.mark.parametrize("activation", AFTER)
@pytest.mark.parametrize("inner", [None, 4])
@pytest.mark.parametrize("norm", [True, False])
def test_a_hidden_layer_over_what_is_there(case, perturbed, same, activation, inner, norm):
    fusion = perturbed(ConcatMlpFusion(case.widths, width=6, inner=inner, activation=activation, norm=norm))
    width = inner or 6
    expected = []
    for sample in range(case.batch):
        numbers = fusion.mix.bias.tolist()
        for m, name in enumerate(case.widths):
            vector = case.vector(name, sample)
            if vector is None:
                continue
            part = (fusion.project[name].weight @ vector + fusion.project[name].bias).tolist()
            if norm:
                layer = fusion.norm[name]
                gain = zip(_normed(part), layer.weight.tolist(), layer.bias.tolist(), strict=True)
                part = [number * scale + shift for number, scale, shift in gain]
            for h in range(6):
                row = fusion.mix.weight[h, m * width : (m + 1) * width].tolist()
                numbers[h] += sum(w * v for w, v in zip(row, part, strict=True))
        expected.append(torch.tensor([AFTER[activation](number) for number in numbers], dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_without_norm_and_activation_it_is_concatenation(case, perturbed):
    """Of the projections, which one linear layer over the vectors holds as well, where nothing is missing."""
    fusion = perturbed(ConcatMlpFusion(case.widths, width=6, activation="none", norm=False))
    other = perturbed(ConcatFusion(case.widths, width=6))
    blocks = fusion.mix.weight.split(fusion.inner, 1)
    layers = list(fusion.project.values())
    other.mix.weight.copy_(torch.cat([b @ layer.weight for b, layer in zip(blocks, layers, strict=True)], 1))
    other.mix.bias.copy_(fusion.mix.bias + sum(b @ layer.bias for b, layer in zip(blocks, layers, strict=True)))
    whole = slice(0, 1)  # the first sample has all inputs
    torch.testing.assert_close(
        fusion(case.features).vector()[whole], other(case.features).vector()[whole], rtol=1e-12, atol=1e-12
    )


def test_dropout_is_of_the_fused_features_and_of_training():
    case = {"a": 5, "b": 3}
    fusion = ConcatMlpFusion(case, width=400, dropout=0.5)
    features = {name: Features.of(torch.randn(8, d)) for name, d in case.items()}
    whole = fusion.eval()(features).vector()
    torch.manual_seed(0)
    dropped = fusion.train()(features).vector()
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
    assert 0.45 < float(kept.double().mean()) < 0.55  # 3,200 draws: a deviation of 0.9 %


@pytest.mark.parametrize("widths", [{"a": 5}, {"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
@pytest.mark.parametrize("inner", [None, 7])
def test_number_of_parameters(widths, inner):
    m, s, h, a = len(widths), sum(widths.values()), 6, inner or 6
    count = sum(p.numel() for p in ConcatMlpFusion(widths, width=h, inner=inner).parameters())
    assert count == s * a + 3 * m * a + m * a * h + h
