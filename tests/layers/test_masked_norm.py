"""MaskedBatchNorm against torch's own, and against plain sums over real positions."""

import pytest
import torch
from torch import nn

from mmkit.layers.masked_norm import MaskedBatchNorm


@pytest.mark.parametrize(("shape", "native"), [((5, 3, 4, 6), nn.BatchNorm2d), ((5, 3, 7), nn.BatchNorm1d)])
@pytest.mark.parametrize("steps", [False, True])
def test_without_padding_it_equals_batch_norm(shape, native, steps):
    ours, theirs = MaskedBatchNorm(3).double(), native(3).double()
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    x = (3 * torch.randn(shape).double() + 2).requires_grad_()
    y = x.detach().clone().requires_grad_()
    mask = torch.ones(shape[0], *shape[2:3] if steps else (), dtype=torch.bool)
    weight = torch.randn(shape).double()
    for _ in range(2):
        ours_out, theirs_out = ours(x, mask), theirs(y)
        torch.testing.assert_close(ours_out, theirs_out)
        (ours_out * weight).sum().backward()
        (theirs_out * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x, mask), theirs.eval()(y))


@pytest.mark.parametrize("rank", [1, 2])
def test_padding_has_no_influence(rank):
    norm = MaskedBatchNorm(3).double()
    x = torch.randn(4, 3, 5, 2).double()
    mask = (
        torch.tensor([True, False, True, True]) if rank == 1 else torch.arange(5) < torch.tensor([[5], [0], [2], [1]])
    )
    out = norm(x, mask)
    rows = mask if rank == 2 else mask.unsqueeze(1).expand(4, 5)
    for channel in range(3):
        real = torch.stack([x[b, channel, t] for b in range(4) for t in range(5) if rows[b, t]])
        expected = (real - real.mean()) / (real.var(correction=0) + 1e-5).sqrt()
        got = torch.stack([out[b, channel, t] for b in range(4) for t in range(5) if rows[b, t]])
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(norm.running_mean[channel], 0.1 * real.mean())
        torch.testing.assert_close(norm.running_var[channel], 0.9 + 0.1 * real.var())


def test_a_batch_without_real_positions_is_finite_and_keeps_the_running_statistics():
    norm = MaskedBatchNorm(3)
    x = torch.randn(4, 3, 5, requires_grad=True)
    norm(x, torch.zeros(4, 5, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(norm.weight.grad).all()
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm.running_var, torch.ones(3))


def test_one_real_position_is_allowed():
    norm = MaskedBatchNorm(3)
    norm.bias.data.normal_()
    out = norm(torch.randn(1, 3, 1), torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(out[0, :, 0], norm.bias, atol=1e-3, rtol=0)  # 300 times the rounding of x


@pytest.mark.parametrize("offset", [30, 1000, -10_000])
def test_a_large_mean_costs_no_precision(offset):
    x = torch.randn(32, 3, 8, 8) + offset
    exact, ours = nn.BatchNorm2d(3).double(), MaskedBatchNorm(3)
    expected = exact(x.double()).float()
    torch.testing.assert_close(ours(x, torch.ones(32, dtype=torch.bool)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.running_var, exact.running_var.float(), atol=1e-4, rtol=0)


def test_its_derivatives_are_those_of_its_differences():
    """Of second order, too: the mean that is taken away first has no gradient, and needs none."""
    norm, mask = MaskedBatchNorm(2).double(), torch.arange(3) < torch.tensor([[3], [0], [2]])
    x = (torch.randn(3, 2, 3).double() + 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: norm(values, mask), x)
    assert torch.autograd.gradgradcheck(lambda values: norm(values, mask), x)


def test_seeds_train_side_by_side():
    norms = [MaskedBatchNorm(3) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(norms)
    x = torch.randn(2, 4, 3, 5)
    mask = torch.arange(5) < torch.tensor([[5], [0], [2], [1]])
    masks = torch.stack((mask, ~mask))
    out = torch.vmap(lambda p, b, v, m: torch.func.functional_call(norms[0], (p, b), (v, m)))(
        parameters, buffers, x, masks
    )
    for i in range(2):
        torch.testing.assert_close(out[i], MaskedBatchNorm(3)(x[i], masks[i]))
