"""Moments and inner products of two samples, against sums written out."""

import math

import pytest
import torch

from mmkit.layers.discrepancy import NEAR, likeness, moment_distance

WEIGHT = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]).double()


def _samples():
    torch.manual_seed(0)
    one, other = torch.rand(2, 6, 3).double()
    return one, other, [row for row in range(6) if WEIGHT[row]]


def _root(square):
    return math.sqrt(square + NEAR) - math.sqrt(NEAR)


def test_the_moments_by_hand():
    one, other, rows = _samples()
    means = [[sum(float(side[r, h]) for r in rows) / len(rows) for h in range(3)] for side in (one, other)]
    expected = _root(sum((means[0][h] - means[1][h]) ** 2 for h in range(3)))
    for k in range(2, 6):
        each = [
            [sum((float(side[r, h]) - mean[h]) ** k for r in rows) / len(rows) for h in range(3)]
            for side, mean in zip((one, other), means, strict=True)
        ]
        expected += _root(sum((each[0][h] - each[1][h]) ** 2 for h in range(3)))
    assert moment_distance(one, other, WEIGHT).item() == pytest.approx(expected, rel=1e-9)


def test_the_inner_products_by_hand():
    one, other, rows = _samples()
    sides = []
    for side in (one, other):
        centred = [
            [float(side[r, h]) - sum(float(side[q, h]) for q in rows) / len(rows) for h in range(3)] for r in rows
        ]
        sides.append([[x / (math.sqrt(sum(y * y for y in row)) + 1e-6) for x in row] for row in centred])
    total = 0.0
    for i in range(3):
        for j in range(3):
            total += sum(a[i] * b[j] for a, b in zip(*sides, strict=True)) ** 2
    assert likeness(one, other, WEIGHT).item() == pytest.approx(total / 9, rel=1e-9)


@pytest.mark.parametrize("measure", [moment_distance, likeness])
def test_rows_of_weight_zero_do_not_count(measure):
    one, other, rows = _samples()
    torch.testing.assert_close(measure(one, other, WEIGHT), measure(one[rows], other[rows], torch.ones(4).double()))


@pytest.mark.parametrize("measure", [moment_distance, likeness])
@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_give_zero_and_finite_gradients(measure, rows):
    one, other, _ = _samples()
    one.requires_grad_()
    found = measure(one, other, (torch.arange(6) < rows).double())
    found.backward()
    assert found.item() == 0
    assert one.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_samples_have_no_distance_and_a_finite_gradient(dtype):
    one = _samples()[0].to(dtype).requires_grad_()
    found = moment_distance(one, one.detach(), WEIGHT.to(dtype))
    found.backward()
    assert found.item() == 0
    assert one.grad.isfinite().all()


def test_orthogonal_samples_have_nothing_in_common():
    """Signs of a square: the two columns are centred, and their inner product is zero."""
    one = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]).double()
    other = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).double()
    assert likeness(one, other, torch.ones(4).double()).item() == pytest.approx(0, abs=1e-12)
    assert likeness(one, one, torch.ones(4).double()).item() == pytest.approx(16, rel=1e-5)
