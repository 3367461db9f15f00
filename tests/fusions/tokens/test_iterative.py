"""Iterative attention, against one that takes one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.iterative import IterativeFusion
from mmkit.fusions.tokens.perceiver import PerceiverFusion


@pytest.mark.parametrize(("layers", "cross_heads", "tied"), [(1, 1, False), (2, 2, False), (3, 1, True)])
def test_latents_look_at_one_input_after_the_other(case, perturbed, same, slow_layer, layers, cross_heads, tied):
    options = {"width": 4, "heads": 2, "latents": 3, "layers": layers, "cross_heads": cross_heads, "tied": tied}
    fusion = perturbed(IterativeFusion(case.widths, **options))
    fused = fusion(case.features)
    tokens = []
    for sample in range(case.batch):
        latents = list(fusion.latents.values)
        for number in range(layers):
            place = 0 if tied else number
            for name in case.widths:
                context = [fusion.project[name](token) for token in case.tokens(name, sample)]
                if context:
                    latents = slow_layer(fusion.look[place][name], latents, context)
            latents = slow_layer(fusion.among[place], latents)
        tokens.append(torch.stack([fusion.norm(each) for each in latents]))
    assert fused.mask.all()
    same(fused.tokens, tokens)
    same(fused.vector(), [each.mean(0) for each in tokens])


def _given():
    torch.manual_seed(1)
    return {
        "a": Features.of(torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()),
        "b": Features.of(torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([[1, 1, 1], [0, 0, 0]]).bool()),
    }


def test_one_input_and_one_layer_are_a_perceiver():
    torch.manual_seed(0)
    fusion = IterativeFusion({"a": 5}, width=8, latents=3, layers=1).double().eval()
    other = PerceiverFusion({"a": 5}, width=8, latents=3, layers=1).double().eval()
    names = (("look.0.a.", "look."), ("among.", "layers."))
    state = fusion.state_dict()
    for old, new in names:
        state = {new + k.removeprefix(old) if k.startswith(old) else k: v for k, v in state.items()}
    other.load_state_dict(state)
    given = {"a": _given()["a"]}
    torch.testing.assert_close(fusion(given).tokens, other(given).tokens)


def test_told_or_not_nothing_missing_is_the_same():
    torch.manual_seed(0)
    fusion = IterativeFusion({"a": 5, "b": 3}, width=8, latents=3).double().eval()
    told = {name: Features.of(f.tokens) for name, f in _given().items()}
    untold = {name: Features.of(f.tokens, torch.ones_like(f.mask)) for name, f in _given().items()}
    torch.testing.assert_close(fusion(told).vector(), fusion(untold).vector())


@pytest.mark.parametrize(("layers", "tied"), [(1, False), (3, False), (3, True)])
def test_number_of_parameters(layers, tied):
    h, k, widths = 16, 6, {"a": 5, "b": 3, "c": 2}
    fusion = IterativeFusion(widths, width=h, latents=k, layers=layers, tied=tied)
    one = 3 * (8 * h * h + 12 * h) + 8 * h * h + 10 * h
    expected = sum(widths.values()) * h + 3 * h + k * h + (1 if tied else layers) * one + 2 * h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_details_are_the_weights_of_the_cross_attention_of_each_input():
    torch.manual_seed(0)
    fusion, given = IterativeFusion({"a": 5, "b": 3}, width=8, latents=3, layers=1).double().eval(), _given()
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    for row in range(2):
        state, here = fusion.latents(), 2 - row
        for name in "ab"[:here]:
            layer = fusion.look[0][name]
            context = fusion.project[name](given[name].tokens[row][given[name].mask[row]])[None]
            query = layer.attention.query(layer.before_attention(state))[0]
            key = layer.attention.key_value(layer.before_context(context)).chunk(2, 2)[0][0]
            expected = (query @ key.T / 8**0.5).softmax(1).mean(0) / here
            torch.testing.assert_close(found[f"attention.{name}"][row][given[name].mask[row]], expected)
            state = layer(state, context, None)
    assert bool((found["attention.b"][1] == 0).all())
