"""Balanced sampling: with replacement, by weight, of any number of samples."""

import pytest
import torch
from scipy import stats

from mmkit.data.sampling import epoch_order


def test_samples_are_drawn_by_their_weights():
    weights = torch.tensor([1.0, 0.0, 3.0, 0.5, 0.0])
    drawn = torch.cat([epoch_order(5, weights, torch.Generator().manual_seed(seed)) for seed in range(4000)])
    counts = drawn.bincount(minlength=5)
    assert counts[1] == counts[4] == 0
    expected = weights[[0, 2, 3]].double() / weights.double().sum() * len(drawn)
    assert stats.chisquare(counts[[0, 2, 3]].numpy(), expected.numpy()).pvalue > 1e-3


def test_the_same_seed_gives_the_same_order_whatever_the_global_generator():
    weights = torch.rand(100)
    first = epoch_order(100, weights, torch.Generator().manual_seed(3))
    torch.rand(5)
    assert torch.equal(epoch_order(100, weights, torch.Generator().manual_seed(3)), first)


@pytest.mark.full
def test_more_samples_than_multinomial_takes():
    size = 2**24 + 10
    weights = torch.zeros(size)
    weights[[5, size - 1]] = 1.0
    drawn = epoch_order(size, weights, torch.Generator().manual_seed(0))
    found, counts = drawn.unique(return_counts=True)
    assert found.tolist() == [5, size - 1]
    assert abs(float(counts[0]) / size - 0.5) < 1e-3
