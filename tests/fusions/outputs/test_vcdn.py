"""VCDN, against sums over every choice of one class an input, and its behaviour where an input is missing."""

import itertools
import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.vcdn import VcdnFusion


@pytest.fixture
def outputs(case):
    features = {
        name: Features.of(torch.randn(case.batch, 3, dtype=torch.float64) * 4, each.present())
        for name, each in case.features.items()
    }
    return type(case)(dict.fromkeys(case.widths, 3), features)


def by_choices(fusion, outputs, sample):
    """One product at a time, in the order of an odometer whose last wheel is the last input."""
    said = []
    for name in outputs.widths:
        vector = outputs.vector(name, sample)
        said.append([1 / 3] * 3 if vector is None else [1 / (1 + math.exp(-float(v))) for v in vector])
    products = [math.prod(choice) for choice in itertools.product(*said)]
    first, _, second = fusion.network
    hidden = []
    for weights, bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True):
        value = sum(w * p for w, p in zip(weights, products, strict=True)) + bias
        hidden.append(value if value > 0 else 0.25 * value)
    rows = zip(second.weight.tolist(), second.bias.tolist(), strict=True)
    found = [sum(w * h for w, h in zip(row, hidden, strict=True)) + bias for row, bias in rows]
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("detach", [True, False])
def test_it_is_a_network_over_all_products(outputs, perturbed, same, detach):
    fusion = perturbed(VcdnFusion(outputs.widths, Target("classes", 3), hidden=5, detach=detach))
    expected = [by_choices(fusion, outputs, sample) for sample in range(outputs.batch)]
    same(fusion(outputs.features).vector(), expected)


def test_with_five_inputs(perturbed):
    widths = dict.fromkeys("abcde", 2)
    fusion = perturbed(VcdnFusion(widths, Target("classes", 2), hidden=4))
    features = {name: Features.of(torch.randn(6, 2, dtype=torch.float64)) for name in widths}
    said = [features[name].vector().sigmoid() for name in widths]
    products = torch.einsum("bi,bj,bk,bl,bm->bijklm", *said).flatten(1)
    torch.testing.assert_close(fusion(features).vector(), fusion.network(products))


def test_what_is_missing_leaves_the_mean_over_its_classes(perturbed):
    """With an input missing, the first layer is that of a smaller network, whose weights are means."""
    fusion = perturbed(VcdnFusion({"a": 4, "b": 4}, Target("classes", 4), hidden=6))
    small = perturbed(VcdnFusion({"a": 4}, Target("classes", 4), hidden=6))
    small.load_state_dict(fusion.state_dict() | {"network.0.weight": fusion.network[0].weight.view(6, 4, 4).mean(2)})
    a = Features.of(torch.randn(5, 4, dtype=torch.float64))
    b = Features.of(torch.randn(5, 4, dtype=torch.float64), torch.zeros(5, dtype=torch.bool))
    torch.testing.assert_close(fusion({"a": a, "b": b}).vector(), small({"a": a}).vector())


def test_what_is_told_complete_gives_the_same(perturbed):
    fusion = perturbed(VcdnFusion({"a": 3, "b": 3}, Target("classes", 3)))
    values = {name: torch.randn(5, 3, dtype=torch.float64) for name in "ab"}
    told = fusion({name: Features.of(value) for name, value in values.items()}).vector()
    found = fusion({n: Features.of(v, torch.ones(5, dtype=torch.bool)) for n, v in values.items()}).vector()
    torch.testing.assert_close(found, told)


@pytest.mark.parametrize(("inputs", "classes", "hidden"), [(1, 10, 50), (2, 10, 50), (3, 4, 7), (5, 2, 3)])
def test_the_number_of_its_parameters(inputs, classes, hidden):
    fusion = VcdnFusion({f"i{i}": classes for i in range(inputs)}, Target("classes", classes), hidden=hidden)
    expected = classes**inputs * hidden + hidden + hidden * classes + classes
    assert sum(p.numel() for p in fusion.parameters()) == expected


@pytest.mark.parametrize("detach", [True, False])
def test_it_trains_the_heads_unless_told_otherwise(detach):
    fusion = VcdnFusion({"a": 3, "b": 3}, Target("classes", 3), detach=detach)
    outputs = {name: Features.of(torch.randn(4, 3, requires_grad=True)) for name in "ab"}
    fused = fusion(outputs).vector().square().sum()
    reached = torch.autograd.grad(fused, [o.tokens for o in outputs.values()], allow_unused=True)
    assert all((gradient is None) is detach for gradient in reached)


def test_what_it_cannot_take_is_refused():
    with pytest.raises(ValueError, match="the target is 'labels': take late or log-pool"):
        VcdnFusion({"a": 3}, Target("labels", 3))
    with pytest.raises(ValueError, match="each output has the target's size, 3"):
        VcdnFusion({"a": 4}, Target("classes", 3))
    with pytest.raises(ValueError, match="of 3 inputs and 101 classes needs 51,520,251 parameters, more than"):
        VcdnFusion(dict.fromkeys("abc", 101), Target("classes", 101))
