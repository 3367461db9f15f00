"""Modality attention, against the formula over the inputs that are there, one sample at a time."""

import itertools
import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.mean import MeanFusion
from mmkit.fusions.vectors.modality_attention import ModalityAttentionFusion

FORMS = list(itertools.product(["joint", "own"], [False, True]))


def _scores(fusion, case, sample):
    """Of each input a list, one number or H."""
    if hasattr(fusion.score, "linear"):
        layer = fusion.score.linear
        joined = torch.cat([case.filled(name, sample) for name in case.widths])
        numbers = [float(row @ joined + bias) for row, bias in zip(layer.weight, layer.bias, strict=True)]
        each = len(numbers) // len(case.widths)
        return [numbers[m * each : (m + 1) * each] for m in range(len(case.widths))]
    found = []
    for name in case.widths:
        layer = fusion.score.hidden[name]
        hidden = [math.tanh(float(n)) for n in layer.weight @ case.filled(name, sample) + layer.bias]
        found.append(
            [sum(w * h for w, h in zip(row, hidden, strict=True)) for row in fusion.score.last.weight.tolist()]
        )
    return found


@pytest.mark.parametrize(("score", "per_feature"), FORMS)
def test_weighs_the_projections_of_what_is_there(case, perturbed, same, score, per_feature):
    fusion = perturbed(ModalityAttentionFusion(case.widths, width=6, score=score, per_feature=per_feature))
    expected = []
    for sample in range(case.batch):
        scores = _scores(fusion, case, sample)
        numbers = [0.0] * 6
        there = [m for m, name in enumerate(case.widths) if case.vector(name, sample) is not None]
        for i in range(6):
            of = {m: math.exp(scores[m][i if per_feature else 0]) for m in there}
            for m in there:
                name = list(case.widths)[m]
                layer = fusion.project[name]
                value = float(layer.weight[i] @ case.vector(name, sample) + layer.bias[i])
                numbers[i] += of[m] / sum(of.values()) * value
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize(("score", "per_feature"), FORMS)
def test_equal_scores_are_the_mean(case, perturbed, score, per_feature):
    fusion = perturbed(ModalityAttentionFusion(case.widths, width=6, score=score, per_feature=per_feature))
    for parameter in fusion.score.parameters():
        parameter.zero_()
    mean = perturbed(MeanFusion(case.widths, width=6))
    for name in case.widths:
        for own, other in zip(mean.project.of(name), fusion.project[name].parameters(), strict=True):
            own.copy_(other)
    torch.testing.assert_close(fusion(case.features).vector(), mean(case.features).vector(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("score", "per_feature"), FORMS)
def test_weights_are_told_and_have_sum_one(case, perturbed, score, per_feature):
    fusion = perturbed(ModalityAttentionFusion(case.widths, width=6, score=score, per_feature=per_feature))
    silent = fusion(case.features)
    assert silent.details == {}
    fusion.detailed = True
    told = fusion(case.features)
    assert torch.equal(silent.tokens, told.tokens)
    weights = torch.stack([told.details[f"weight.{name}"] for name in case.widths])
    assert weights.shape == (len(case.widths), case.batch, *((6,) if per_feature else ()))
    there = torch.stack([f.present() for f in case.features.values()])
    assert bool((weights[~there] == 0).all())
    some = there.any(0).double()
    total = weights.sum(0)
    torch.testing.assert_close(total, some.unsqueeze(1).expand_as(total) if per_feature else some)


def test_no_gradient_reaches_what_is_missing(make):
    """Not even by its score, where it has one of its own."""
    case = make("three")
    fusion = ModalityAttentionFusion(case.widths, width=6, score="own").double()
    leaves = {n: f.tokens.clone().requires_grad_() for n, f in case.features.items()}
    given = {n: Features(leaves[n], f.mask, f.pooled) for n, f in case.features.items()}
    fusion(given).vector().square().sum().backward()
    for name in ("audio", "text"):
        missing = ~case.features[name].present()
        assert bool((leaves[name].grad[missing] == 0).all())
        assert bool((leaves[name].grad[~missing] != 0).any())


@pytest.mark.parametrize("widths", [{"a": 5}, {"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
def test_number_of_parameters(widths):
    m, s, h = len(widths), sum(widths.values()), 6

    def count(**options):
        return sum(p.numel() for p in ModalityAttentionFusion(widths, width=h, **options).parameters())

    assert count() == s * h + m * h + s * m + m
    assert count(per_feature=True) == s * h + m * h + (s * m + m) * h
    assert count(score="own") == 2 * (s * h + m * h) + h
    assert count(score="own", per_feature=True) == 2 * (s * h + m * h) + h * h
