"""Softmax over the inputs that are there, against the softmax of those alone."""

import math

import pytest
import torch

from mmkit.layers.present_softmax import present_softmax

PRESENT = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)


def test_weighs_only_what_is_there():
    scores = torch.randn(4, 3, dtype=torch.float64)
    weights = present_softmax(scores, PRESENT)
    for row, there, got in zip(scores.tolist(), PRESENT.tolist(), weights.tolist(), strict=True):
        total = sum(math.exp(score) for score, here in zip(row, there, strict=True) if here)
        expected = [math.exp(score) / total if here else 0.0 for score, here in zip(row, there, strict=True)]
        assert got == pytest.approx(expected, abs=1e-15)


def test_every_feature_has_its_own():
    scores = torch.randn(4, 3, 5)
    got = present_softmax(scores, PRESENT)
    each = [present_softmax(scores[:, :, feature], PRESENT) for feature in range(5)]
    torch.testing.assert_close(got, torch.stack(each, 2))


def test_none_missing_may_be_left_unsaid():
    scores = torch.randn(4, 3)
    torch.testing.assert_close(present_softmax(scores, None), present_softmax(scores, torch.ones(4, 3).bool()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1.0, 3e4])  # of the scores; -1e4 in the place of a missing one would then outweigh
def test_a_missing_score_counts_for_nothing_and_learns_nothing(dtype, size):
    scores = (-size * torch.rand(4, 3)).to(dtype).requires_grad_()
    weights = present_softmax(scores, PRESENT)
    assert bool((weights[~PRESENT] == 0).all())
    torch.testing.assert_close(weights.double().sum(1), PRESENT.any(1).double(), rtol=0, atol=0.01)
    (weights * torch.arange(3)).sum().backward()
    assert bool(scores.grad.isfinite().all())
    assert bool((scores.grad[~PRESENT] == 0).all())
    assert bool((scores.grad[3] == 0).all())
