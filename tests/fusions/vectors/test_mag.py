"""Multimodal adaptation gate, against the formula one number at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.mag import MagFusion

SEVERAL = ["two", "three", "four"]


def _length(vector):
    return sum(float(number) ** 2 for number in vector) ** 0.5


def _normed(norm, vector):
    spread = ((vector - vector.mean()) ** 2).mean() + norm.eps
    return (vector - vector.mean()) / spread**0.5 * norm.weight + norm.bias


def _parts(fusion, case, sample, anchor):
    """The anchor's projection, None where it is missing; and the shift."""
    x = case.vector(anchor, sample)
    a = None if x is None else fusion.project[anchor].weight @ x + fusion.project[anchor].bias
    shift = torch.zeros(fusion.width, dtype=torch.float64)
    for name in case.widths:
        x = case.vector(name, sample)
        if name == anchor or x is None:
            continue
        layer, gate = fusion.project[name], fusion.gate[name]
        for i in range(fusion.width):
            seen = torch.cat([x, torch.zeros_like(shift) if a is None else a])
            opening = max(float(gate.weight[i] @ seen + gate.bias[i]), 0.0)
            shift[i] += opening * float(layer.weight[i] @ x + layer.bias[i])
    return a, shift


@pytest.mark.parametrize("of", SEVERAL)
@pytest.mark.parametrize("place", [None, 0, 1, -1])
@pytest.mark.parametrize("limit", [0.2, 1.0, 50.0])
def test_the_others_shift_the_anchor_within_a_limit(make, perturbed, same, of, place, limit):
    case = make(of)
    names = list(case.widths)
    asked = None if place is None else names[place]
    fusion = perturbed(MagFusion(case.widths, width=6, limit=limit, anchor=asked))
    expected = []
    for sample in range(case.batch):
        a, shift = _parts(fusion, case, sample, names[place or 0])
        if a is not None:
            longest = limit * _length(a)
            shift = a + min(longest / (_length(shift) + 1e-6), 1.0) * shift
        expected.append(_normed(fusion.norm, shift))
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize("of", SEVERAL)
def test_alone_the_anchor_is_its_projection_normalised(make, perturbed, of):
    case = make(of)
    anchor = next(iter(case.widths))
    fusion = perturbed(MagFusion(case.widths, width=6))
    none = {n: Features.of(torch.zeros_like(f.tokens), torch.zeros_like(f.mask)) for n, f in case.features.items()}
    found = fusion(none | {anchor: case.features[anchor]}).vector()
    there = case.features[anchor].present()
    expected = fusion.norm(fusion.project[anchor](case.features[anchor].vector()))
    torch.testing.assert_close(found[there], expected[there])
    torch.testing.assert_close(found[~there], fusion.norm.bias.expand_as(found[~there]))


def test_without_an_anchor_the_others_are_not_lost(make, perturbed):
    case = make("two")
    fusion = perturbed(MagFusion(case.widths, width=6))
    alone = ~case.features["image"].present() & case.features["text"].present()
    assert alone.any()
    assert not torch.allclose(fusion(case.features).vector()[alone], fusion.norm.bias.expand(int(alone.sum()), -1))


def test_a_shift_of_zero_has_a_finite_gradient(make):
    """Its length is divided by, and has no slope at zero."""
    fusion = MagFusion({"a": 4, "b": 3}, width=6)
    for layer in fusion.gate.values():
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = {name: torch.randn(3, d, requires_grad=True) for name, d in (("a", 4), ("b", 3))}
    fusion({name: Features.of(one) for name, one in x.items()}).vector().square().sum().backward()
    assert all(one.grad.isfinite().all() for one in [*x.values(), *fusion.parameters()] if one.grad is not None)


@pytest.mark.parametrize("widths", [{"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}, dict.fromkeys("abcde", 4)])
@pytest.mark.parametrize("anchor", ["a", "b"])
def test_number_of_parameters(widths, anchor):
    s, m, h = sum(widths.values()), len(widths), 6
    count = sum(p.numel() for p in MagFusion(widths, width=h, anchor=anchor).parameters())
    assert count == (s + m) * h + (s - widths[anchor]) * h + (m - 1) * (h * h + h) + 2 * h


def test_it_takes_no_single_input_and_no_anchor_that_is_not_there():
    with pytest.raises(ValueError, match=r"an anchor needs another input beside it; got 1 \(a\)"):
        MagFusion({"a": 2})
    with pytest.raises(ValueError, match="anchor photo is no input; there are image, text: name one of them"):
        MagFusion({"image": 2, "text": 2}, anchor="photo")
