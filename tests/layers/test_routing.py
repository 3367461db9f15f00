"""The choice of experts, and the penalty that spreads rows over them, by counting."""

import pytest
import torch

from mmkit.layers.routing import imbalance, kept


@pytest.mark.parametrize("top", [1, 2, 4, 9])
def test_the_greatest_are_kept(top):
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    weights = kept(scores, top).softmax(2)
    for row, found in zip(scores.flatten(0, 1).tolist(), weights.flatten(0, 1), strict=True):
        best = sorted(range(4), key=lambda e: -row[e])[:top]
        total = sum(torch.tensor(row[e]).exp() for e in best)
        expected = [float(torch.tensor(row[e]).exp() / total) if e in best else 0.0 for e in range(4)]
        torch.testing.assert_close(found, torch.tensor(expected))


def test_only_counted_rows_count():
    scores = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counted = torch.arange(9) % 3 > 0
    torch.testing.assert_close(imbalance(scores, 2, counted), imbalance(scores[counted], 2))
    shares = torch.zeros(4).double()
    for row in scores[counted]:
        shares[row.topk(2).indices] += 1 / 12
    expected = 4 * (shares * scores[counted].softmax(1).mean(0)).sum()
    torch.testing.assert_close(imbalance(scores, 2, counted), expected)


def test_without_rows_it_is_zero_with_a_gradient_of_zero():
    scores = torch.randn(3, 4, requires_grad=True)
    found = imbalance(scores, 1, torch.zeros(3, dtype=torch.bool))
    found.backward()
    assert float(found.detach()) == 0
    assert not scores.grad.any()
