"""The squared maximum mean discrepancy, against sums written out."""

import math
import statistics

import pytest
import torch

from mmkit.layers.kernel_distance import kernel_distance

WEIGHT = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]).double()


def _square(one, other):
    return sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True))


def test_it_is_its_definition():
    torch.manual_seed(0)
    one, other = torch.randn(2, 6, 3).double()
    first, second = one[WEIGHT > 0], other[WEIGHT > 0]
    every = [*first, *second]
    apart = [_square(a, b) for i, a in enumerate(every) for j, b in enumerate(every) if i != j]
    scale = statistics.median_low(apart)

    def mean(left, right):
        found = [math.exp(-_square(a, b) / (times * scale)) for a in left for b in right for times in (0.5, 1.0, 2.0)]
        return sum(found) / len(found)

    expected = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    assert kernel_distance(one, other, WEIGHT).item() == pytest.approx(expected, rel=1e-9)


def test_equal_samples_are_not_apart_in_whatever_order():
    one = torch.randn(8, 3).double()
    assert abs(float(kernel_distance(one, one.flip(0), torch.ones(8).double()))) < 1e-12
    assert float(kernel_distance(one, one + 3, torch.ones(8).double())) > 0.5


@pytest.mark.parametrize("rows", [0, 1])
def test_of_fewer_than_two_rows_it_is_zero(rows):
    one = torch.randn(4, 3, requires_grad=True)
    found = kernel_distance(one, torch.randn(4, 3), (torch.arange(4) < rows).float())
    found.backward()
    assert found == 0
    assert not one.grad.any()


@pytest.mark.parametrize("size", [0.0, 0.3, 1e4])
def test_of_equal_rows_all_is_finite(size):
    one = torch.full((7, 3), size, requires_grad=True)
    found = kernel_distance(one, torch.full((7, 3), size), torch.ones(7))
    found.backward()
    assert found.abs() < 1e-6
    assert one.grad.isfinite().all()


def test_where_the_rows_stand_does_not_count():
    """In single precision, far from the origin: the digits are kept."""
    torch.manual_seed(0)
    one, other = torch.randn(2, 9, 3)
    other = other + 1
    there = torch.ones(9)
    far = kernel_distance(one.double() + 100, other.double() + 100, there.double())
    torch.testing.assert_close(kernel_distance(one + 100, other + 100, there).double(), far, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kernel_distance(one, other, there).double(), far, rtol=1e-4, atol=1e-5)
