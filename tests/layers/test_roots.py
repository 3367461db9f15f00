"""The signed square root: the plain one away from zero, and a finite slope at it."""

import math

import pytest
import torch

from mmkit.layers.roots import NEAR, signed_root


def test_it_is_the_shifted_root_one_number_at_a_time():
    values = torch.cat([torch.randn(50).double(), torch.tensor([0.0, 1e-9, -1e-9, 1e6, -1e6], dtype=torch.float64)])
    expected = [math.copysign(math.sqrt(abs(z) + NEAR) - math.sqrt(NEAR), z) for z in values.tolist()]
    # The difference cancels, so that near zero it has fewer digits than the quotient.
    torch.testing.assert_close(signed_root(values), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-15)
    plain = torch.tensor([math.copysign(math.sqrt(abs(z)), z) for z in values.tolist()], dtype=torch.float64)
    assert float((signed_root(values) - plain).abs().max()) < math.sqrt(NEAR)


def test_its_gradient_is_right_at_zero_and_beside_it():
    values = torch.tensor([0.0, 3e-7, -2e-6, 0.3, -4.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(signed_root, values, eps=1e-10, atol=1e-2, rtol=1e-4)
    signed_root(values).sum().backward()
    assert values.grad[0] == pytest.approx(1 / (2 * math.sqrt(NEAR)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    values = torch.randn(20).to(dtype)
    found = signed_root(values)
    assert found.dtype == torch.float32
    assert torch.equal(found, signed_root(values.float()))
