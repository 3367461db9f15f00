"""What multiplies inputs learns their exclusive or with a linear head; what adds them before the decision does not."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.registry.catalog import installed

MULTIPLY = [
    ("concat-mlp", {}),
    ("deep-sets", {}),
    ("film", {}),
    ("gated-tensor", {}),
    ("hypernetwork", {}),
    ("mag", {}),
    ("mfb", {}),
    ("mfb", {"order": 2}),
    ("multiplicative", {}),
    ("multiplicative", {"form": "scalar"}),
    ("multiplicative", {"form": "matrix"}),
    ("mutan", {}),
    ("mutan", {"rank": None, "inner": 8}),
    ("product", {}),
    ("tensor", {}),
    ("low-rank", {}),
]
ADD = [("concat", {}), ("sum", {}), ("mean", {}), ("gated-cross", {})]


def learnt(name, options):
    """Accuracy on fresh samples: two inputs, each a direction of its own for a 1 and another for a 0, and noise."""
    torch.manual_seed(0)
    directions = torch.randn(2, 2, 8)  # [inputs bits D]

    def samples(count):
        bits = torch.arange(4).repeat(count // 4)
        first, second = bits // 2, bits % 2
        vectors = [directions[m, bit] + 0.1 * torch.randn(count, 8) for m, bit in enumerate((first, second))]
        return {n: Features.of(vector) for n, vector in zip("ab", vectors, strict=True)}, first ^ second

    choice = installed().choose("fusion", name, {"width": 16, **options})
    fusion = choice.component({"a": 8, "b": 8}, **choice.options)
    head = nn.Linear(fusion.width, 2)
    optimiser = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    for _ in range(200):
        features, label = samples(64)
        loss = nn.functional.cross_entropy(head(fusion(features).vector()), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        features, label = samples(400)
        return (head(fusion.eval()(features).vector()).argmax(1) == label).double().mean().item()


@pytest.mark.parametrize(("name", "options"), MULTIPLY, ids=str)
def test_what_multiplies_learns_it(name, options):
    assert learnt(name, options) > 0.98


@pytest.mark.parametrize(("name", "options"), ADD, ids=str)
def test_what_adds_does_not(name, options):
    """A sum of two decides at most three of the four combinations."""
    assert learnt(name, options) <= 0.76
