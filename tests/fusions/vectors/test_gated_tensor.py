"""Gated tensor fusion, against the formula one number at a time."""

import itertools
import math

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.fusions.vectors.gated_tensor import GatedTensorFusion
from mmkit.fusions.vectors.tensor import TensorFusion

SEVERAL = ["two", "three"]
INNER = 3


def _relu(values):
    return torch.clamp(values, min=0)


def _form(fusion, anchor, others, name, x, i):
    """A number of the form that sets the gate of an input: of the anchor's vector with one of the others."""
    other = others[0] if name == anchor else name
    half = INNER if name == others[0] else 0  # the first of the others follows the anchor in one weight
    layer = fusion.gate[other]
    if isinstance(layer, nn.Module) and hasattr(layer, "layer"):
        return float(layer.layer.weight[half + i] @ torch.cat([x[anchor], x[other]]))
    return float(x[anchor] @ layer.weight[:, half + i] @ x[other])


def _gated(fusion, case, sample, anchor):
    """[K] of each input, zero where it is missing."""
    others = [name for name in case.widths if name != anchor]
    x = {name: case.filled(name, sample) for name in case.widths}
    found = []
    for name in case.widths:
        if case.vector(name, sample) is None:
            found.append(torch.zeros(INNER, dtype=torch.float64))
            continue
        opener = others[0] if name == anchor else anchor
        gate = torch.ones(INNER, dtype=torch.float64)
        if case.vector(opener, sample) is not None:
            for i in range(INNER):
                form = _form(fusion, anchor, others, name, x, i) + float(fusion.bias[name][i])
                gate[i] = 1 / (1 + math.exp(-form))
        value = _relu(fusion.project[name].weight @ x[name] + fusion.project[name].bias)
        found.append(_relu(fusion.narrow[name].weight @ (gate * value) + fusion.narrow[name].bias))
    return found


@pytest.mark.parametrize("of", SEVERAL)
@pytest.mark.parametrize("place", [None, 0, 1, -1])
@pytest.mark.parametrize("gate", ["bilinear", "linear"])
def test_gated_inputs_are_multiplied(make, perturbed, same, of, place, gate):
    case = make(of)
    names = list(case.widths)
    asked = None if place is None else names[place]
    fusion = perturbed(GatedTensorFusion(case.widths, width=6, inner=INNER, hidden=4, gate=gate, anchor=asked))
    expected = []
    for sample in range(case.batch):
        gated = _gated(fusion, case, sample, names[place or 0])
        ended = [[*one.tolist(), 1.0] for one in gated]
        product = torch.tensor([math.prod(numbers) for numbers in itertools.product(*ended)], dtype=torch.float64)
        hidden = _relu(fusion.mix.weight @ product + fusion.mix.bias)
        expected.append(_relu(fusion.join.weight @ torch.cat([hidden, *gated]) + fusion.join.bias))
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize("of", SEVERAL)
def test_with_open_gates_and_no_join_it_is_tensor_fusion(make, perturbed, of):
    """The projections are positive, so that no relu acts, and nothing is missing."""
    case = make(of)
    fusion = perturbed(GatedTensorFusion(case.widths, width=6, inner=INNER, hidden=6))
    other = TensorFusion(case.widths, width=6, inner=INNER).double()
    for place, (name, layer) in enumerate(fusion.project.items()):
        layer.weight.abs_()
        layer.bias.zero_()
        fusion.bias[name].fill_(1e3)
        fusion.narrow[name].weight.copy_(torch.eye(INNER))
        fusion.narrow[name].bias.zero_()
        other.project[place].weight.data.copy_(layer.weight)
    other.mix.load_state_dict(fusion.mix.state_dict())
    fusion.join.weight.copy_(torch.eye(6, fusion.join.in_features))
    fusion.join.bias.zero_()
    given = {name: Features.of(torch.rand(5, d).double()) for name, d in case.widths.items()}
    torch.testing.assert_close(fusion(given).vector(), other(given).vector().relu())


def test_gates_are_not_saturated_at_the_start():
    torch.manual_seed(0)
    widths = {"a": 256, "b": 512}
    fusion = GatedTensorFusion(widths)
    gates = fusion._gates({name: Features.of(torch.randn(200, d)) for name, d in widths.items()})
    for gate in gates.values():
        assert float(((gate > 0.05) & (gate < 0.95)).double().mean()) > 0.95


@pytest.mark.parametrize("widths", [{"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
@pytest.mark.parametrize("anchor", ["a", "b"])
@pytest.mark.parametrize("gate", ["bilinear", "linear"])
def test_number_of_parameters(widths, anchor, gate):
    h, k, r, m = 6, 4, 7, len(widths)
    first, *others = [widths[anchor], *(d for name, d in widths.items() if name != anchor)]
    forms = [first * d if gate == "bilinear" else first + d for d in others]
    expected = (sum(forms) + forms[0]) * k + m * k + sum(widths.values()) * k + m * k + m * (k * k + k)
    expected += (k + 1) ** m * r + r + (r + m * k) * h + h
    fusion = GatedTensorFusion(widths, width=h, inner=k, hidden=r, gate=gate, anchor=anchor, budget=expected)
    assert sum(p.numel() for p in fusion.parameters()) == expected
    with pytest.raises(ValueError, match=f"needs {expected:,} parameters, more than its budget of {expected - 1:,}"):
        GatedTensorFusion(widths, width=h, inner=k, hidden=r, gate=gate, anchor=anchor, budget=expected - 1)


def test_it_takes_two_or_three_inputs_and_no_anchor_that_is_not_there():
    with pytest.raises(ValueError, match=r"an anchor needs another input beside it; got 1 \(a\)"):
        GatedTensorFusion({"a": 2})
    with pytest.raises(ValueError, match=r"takes two or three inputs; got 4 \(a, b, c, d\)"):
        GatedTensorFusion(dict.fromkeys("abcd", 2))
    with pytest.raises(ValueError, match="anchor photo is no input; there are image, text: name one of them"):
        GatedTensorFusion({"image": 2, "text": 2}, anchor="photo")
