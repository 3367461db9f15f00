"""Masks by products against `where`, with gradients, and autocast left only where it is on."""

from contextlib import nullcontext

import pytest
import torch

from mmkit.layers.chosen import chosen, masked
from mmkit.layers.precision import exactly

THERE = torch.tensor([[True], [False], [True], [False]])


def _values(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("neutral", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("shape", [(4, 3), (3,)])
def test_masked_is_where(neutral, shape):
    values, probe = _values(*shape), torch.randn(4, 3, dtype=torch.float64)
    found, expected = masked(values, THERE, neutral), torch.where(THERE, values, neutral)
    assert torch.equal(found, expected)
    one, other = (torch.autograd.grad((each * probe).sum(), values)[0] for each in (found, expected))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(4, 3), (1, 3)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_chosen_is_where(shape, dtype):
    values, otherwise, probe = _values(4, 3), _values(*shape, dtype=dtype), torch.randn(4, 3, dtype=torch.float64)
    found, expected = chosen(values, THERE, otherwise), torch.where(THERE, values, otherwise)
    assert torch.equal(found, expected)
    pairs = (torch.autograd.grad((each * probe).sum(), [values, otherwise]) for each in (found, expected))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_precision_of_the_values_is_kept(dtype):
    values = torch.randn(4, 3, dtype=dtype)
    assert masked(values, THERE).dtype is masked(values, THERE, 1 / 3).dtype is dtype
    assert chosen(values, THERE, values).dtype is dtype


def test_autocast_is_left_where_it_is_on_and_nothing_is_entered_elsewhere():
    factor = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (factor @ factor).dtype is torch.bfloat16
        with exactly(factor.device):
            assert (factor @ factor).dtype is torch.float32
    assert isinstance(exactly(factor.device), nullcontext)
    assert isinstance(exactly(torch.device("meta")), nullcontext)
