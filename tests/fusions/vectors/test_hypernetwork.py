"""Hypernetwork, against weights that are built for one sample at a time."""

import pytest
import torch

from mmkit.fusions.vectors.hypernetwork import HypernetworkFusion
from mmkit.fusions.vectors.multiplicative import MultiplicativeFusion

SEVERAL = ["two", "three", "four"]


def _weights(fusion, others):
    """Weight [H D] and bias [H] of the anchor's layer, generated from the join of the others."""
    embedding = torch.clamp(fusion.embed.weight @ others + fusion.embed.bias, min=0)
    weight, bias = fusion.fixed.weight.clone(), fusion.fixed.bias.clone()
    for k, number in enumerate(embedding):
        weight += number * fusion.generated.weight[:, :, k].T
        bias += number * fusion.shift.weight[:, k]
    return weight, bias


@pytest.mark.parametrize("of", SEVERAL)
@pytest.mark.parametrize("place", [None, 0, 1, -1])
def test_the_others_generate_the_layer_of_the_anchor(make, perturbed, same, of, place):
    case = make(of)
    names = list(case.widths)
    fusion = perturbed(
        HypernetworkFusion(case.widths, width=6, hidden=5, anchor=None if place is None else names[place])
    )
    anchor = names[place or 0]
    expected = []
    for sample in range(case.batch):
        others = torch.cat([case.filled(name, sample) for name in names if name != anchor])
        weight, bias = _weights(fusion, others)
        expected.append(weight @ case.filled(anchor, sample) + bias)
    same(fusion(case.features).vector(), expected)


def test_with_a_linear_embedding_it_is_a_bilinear_form_of_two_inputs(make, perturbed):
    """The relu is passed by where its argument is positive; then y has the terms of the multiplicative fusion."""
    case = make("two")
    fusion = perturbed(HypernetworkFusion(case.widths, width=6, hidden=5))
    fusion.embed.bias.data += 100
    other = MultiplicativeFusion(case.widths, width=6, form="matrix").double()
    u, e = fusion.embed.weight, fusion.embed.bias  # [K D_2], [K]
    generated = fusion.generated.weight  # [D_1 H K]
    terms = other.terms
    terms.product.weight.data.copy_(torch.einsum("dhk,ke->hde", generated, u).flatten(1))
    first = fusion.fixed.weight + torch.einsum("dhk,k->hd", generated, e)
    terms.lower.weight.data.copy_(torch.cat([first, fusion.shift.weight @ u], 1))
    terms.lower.bias.data.copy_(fusion.fixed.bias + fusion.shift.weight @ e)
    torch.testing.assert_close(fusion(case.features).vector(), other(case.features).vector(), rtol=1e-9, atol=1e-9)


def test_without_its_generator_it_is_a_linear_layer_of_the_anchor(make, perturbed):
    case = make("three")
    fusion = perturbed(HypernetworkFusion(case.widths, width=6, anchor="image"))
    fusion.generated.weight.zero_()
    fusion.shift.weight.zero_()
    torch.testing.assert_close(fusion(case.features).vector(), fusion.fixed(case.features["image"].vector()))


@pytest.mark.parametrize("widths", [{"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}, dict.fromkeys("abcde", 4)])
@pytest.mark.parametrize("anchor", ["a", "b"])
def test_number_of_parameters(widths, anchor):
    d, s, h, k = widths[anchor], sum(widths.values()), 6, 7
    count = sum(p.numel() for p in HypernetworkFusion(widths, width=h, hidden=k, anchor=anchor).parameters())
    assert count == (k + 1) * d * h + h + k * h + (s - d) * k + k


def test_it_takes_no_single_input_and_no_anchor_that_is_not_there():
    with pytest.raises(ValueError, match=r"an anchor needs another input beside it; got 1 \(a\)"):
        HypernetworkFusion({"a": 2})
    with pytest.raises(ValueError, match="anchor photo is no input; there are image, text: name one of them"):
        HypernetworkFusion({"image": 2, "text": 2}, anchor="photo")
