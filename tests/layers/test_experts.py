"""Experts side by side, against one network after the other."""

import torch
from torch import nn

from mmkit.layers.experts import Experts


def _apart(experts, each):
    """One expert as a plain network."""
    hidden, out = experts.hidden, experts.bias.shape[1]
    size = hidden.out_features // experts.count
    part = slice(each * size, (each + 1) * size)
    network = nn.Sequential(nn.Linear(hidden.in_features, size), nn.GELU(), nn.Linear(size, out)).double()
    weights = (hidden.weight[part], hidden.bias[part], experts.weight[:, part], experts.bias[each])
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        parameter.data.copy_(weight.detach())
    return network


def test_it_is_the_weighted_sum_of_plain_networks():
    torch.manual_seed(0)
    experts = Experts(3, 5, hidden=7, out=4).double()
    values, weights = torch.randn(6, 5).double(), torch.rand(6, 3).double()
    found = experts(values, weights)
    for row in range(6):
        parts = [weights[row, each] * _apart(experts, each)(values[row]) for each in range(3)]
        torch.testing.assert_close(found[row], sum(parts), rtol=1e-10, atol=1e-10)


def test_a_weight_of_zero_leaves_an_expert_out():
    torch.manual_seed(0)
    experts = Experts(3, 5, hidden=7, out=4)
    weights = torch.tensor([[0.4, 0.6, 0.0]]).expand(6, 3)
    experts(torch.randn(6, 5), weights).square().sum().backward()
    for of_experts in (
        experts.hidden.weight.grad.unflatten(0, (3, 7)),
        experts.hidden.bias.grad.unflatten(0, (3, 7)),
        experts.weight.grad.unflatten(1, (3, 7)).movedim(1, 0),
        experts.bias.grad,
    ):
        assert not of_experts[2].any()
        assert of_experts[0].any()
        assert of_experts[1].any()


def test_experts_start_as_layers_of_their_own_would():
    """The bound of each second layer is that of its own inputs, not of all together."""
    experts = Experts(8, 5, hidden=16, out=64)
    assert 0.9 * 16**-0.5 < float(experts.weight.detach().abs().max()) <= 16**-0.5
    assert sum(parameter.numel() for parameter in experts.parameters()) == 8 * (5 * 16 + 16 + 16 * 64 + 64)
