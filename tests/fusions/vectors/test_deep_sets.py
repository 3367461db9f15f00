"""Deep sets, against the formula one input of one sample at a time."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.fusions.vectors.deep_sets import DeepSetsFusion
from mmkit.fusions.vectors.max import MaxFusion
from mmkit.fusions.vectors.mean import MeanFusion
from mmkit.fusions.vectors.sum import SumFusion


def _read(network, vector):
    first, _, last = network
    hidden = torch.clamp(first.weight @ vector + first.bias, min=0)
    return last.weight @ hidden + last.bias


def _normed(norm, vector):
    spread = ((vector - vector.mean()) ** 2).mean() + norm.eps
    return (vector - vector.mean()) / spread**0.5 * norm.weight + norm.bias


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
def test_a_network_reads_the_pool_of_what_is_there(case, perturbed, same, pool):
    fusion = perturbed(DeepSetsFusion(case.widths, width=6, hidden=5, pool=pool))
    expected = []
    for sample in range(case.batch):
        members = []
        for name, layer in fusion.project.items():
            x = case.vector(name, sample)
            if x is not None:
                members.append(_normed(fusion.norm, _read(fusion.inner, layer.weight @ x + layer.bias)))
        pooled = torch.zeros(6, dtype=torch.float64)
        if members and pool == "max":
            pooled = torch.tensor([max(float(z[i]) for z in members) for i in range(6)], dtype=torch.float64)
        elif members:
            pooled = sum(members) / (len(members) if pool == "mean" else 1)
        expected.append(_read(fusion.outer, pooled))
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize(("pool", "plain"), [("mean", MeanFusion), ("sum", SumFusion), ("max", MaxFusion)])
def test_without_its_networks_it_is_the_plain_pool(case, perturbed, pool, plain):
    fusion = perturbed(DeepSetsFusion(case.widths, width=6, pool=pool))
    fusion.inner = fusion.norm = fusion.outer = nn.Identity()
    other = plain(case.widths, width=6).double()
    for m, (name, layer) in enumerate(fusion.project.items()):
        if pool == "max":
            other.project[name].load_state_dict(layer.state_dict())
        else:
            other.project.of(name)[0].data.copy_(layer.weight)
            other.project.bias.data[m].copy_(layer.bias)
    torch.testing.assert_close(fusion(case.features).vector(), other(case.features).vector())


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
def test_of_a_set_the_order_does_not_count(perturbed, pool):
    """The same layers and vectors under other names give the same result."""
    fusion, turned = (perturbed(DeepSetsFusion(dict.fromkeys("abc", 4), width=6, pool=pool)) for _ in range(2))
    turned.load_state_dict(fusion.state_dict())
    for name, other in zip("abc", "cab", strict=True):
        turned.project[other].load_state_dict(fusion.project[name].state_dict())
    x = {name: Features.of(torch.randn(3, 4).double(), torch.rand(3) < 0.7) for name in "abc"}
    given = {other: x[name] for name, other in zip("abc", "cab", strict=True)}
    torch.testing.assert_close(turned(given).vector(), fusion(x).vector())


@pytest.mark.parametrize("widths", [{"a": 5}, {"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4, "d": 2, "e": 7}])
def test_number_of_parameters(widths):
    s, m, h, f = sum(widths.values()), len(widths), 6, 9
    count = sum(p.numel() for p in DeepSetsFusion(widths, width=h, hidden=f).parameters())
    assert count == s * h + m * h + 2 * (2 * h * f + f + h) + 2 * h
