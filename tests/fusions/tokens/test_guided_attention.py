"""Guided attention, against one that takes one sample, one head, one query and one key at a time."""

import math
from types import SimpleNamespace

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.guided_attention import GuidedAttentionFusion


def _branch(attention, queries, context):
    """What the slow layer needs for a branch of attention alone."""
    return SimpleNamespace(
        attention=attention, before_attention=queries, before_context=context, feed_forward=torch.zeros_like
    )


def _pooled(pool, tokens):
    """The merged mean, zero of no token, and the weights."""
    scores = [math.exp(float(pool.score(token))) for token in tokens]
    weights = [score / sum(scores) for score in scores]
    mean = torch.zeros(pool.merge.in_features, dtype=torch.float64)
    for weight, token in zip(weights, tokens, strict=True):
        mean = mean + weight * token
    return pool.merge(mean), weights


def _by_hand(fusion, slow_layer, given):
    """One sample of tokens by name: its result, and the weights of the pools."""
    anchor = fusion.others.anchor
    guide = [fusion.project[anchor](token) for token in given[anchor]]
    for layer in fusion.guide:
        guide = slow_layer(layer, guide)
    tokens = [fusion.project[n](token) for n in fusion.others.names for token in given[n]]
    for layer in fusion.guided:
        tokens = slow_layer(_branch(layer.attention, layer.before_attention, None), tokens)
        tokens = slow_layer(_branch(layer.cross, layer.before_cross, layer.before_context), tokens, guide)
        tokens = [token + layer.feed_forward(token) for token in tokens]
    first, of_guide = _pooled(fusion.pool[0], guide)
    second, of_tokens = _pooled(fusion.pool[1], tokens)
    return fusion.norm(first + second), of_guide, of_tokens


@pytest.mark.parametrize("name", ["two", "three", "four"])
@pytest.mark.parametrize(("layers", "last"), [(1, False), (2, True)])
def test_the_anchor_guides_every_real_token_of_the_others(make, perturbed, same, slow_layer, name, layers, last):
    case = make(name)
    anchor = max(case.widths) if last else None
    fusion = perturbed(GuidedAttentionFusion(case.widths, width=4, heads=2, layers=layers, anchor=anchor))
    expected = [
        _by_hand(fusion, slow_layer, {n: case.tokens(n, row) for n in case.widths})[0] for row in range(case.batch)
    ]
    same(fusion(case.features).vector(), expected)


def _given():
    torch.manual_seed(1)
    return {
        "a": Features.of(torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()),
        "b": Features.of(torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([[1, 0, 1], [0, 0, 0]]).bool()),
    }


@pytest.mark.parametrize("layers", [1, 3])
def test_number_of_parameters(layers):
    h, widths = 16, {"a": 5, "b": 3, "c": 2}
    fusion = GuidedAttentionFusion(widths, width=h, layers=layers)
    expected = sum(widths.values()) * h + 3 * h + layers * (20 * h * h + 27 * h) + 2 * (2 * h * h + 2 * h) + 2 * h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_details_are_the_weights_of_the_pools(perturbed, slow_layer):
    fusion, given = perturbed(GuidedAttentionFusion({"a": 5, "b": 3}, width=4, heads=2)), _given()
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    for row, count in ((0, 2), (1, 1)):
        real = {name: f.mask[row] for name, f in given.items()}
        sample = {name: list(f.tokens[row][real[name]]) for name, f in given.items()}
        _, first, second = _by_hand(fusion, slow_layer, sample)
        for name, weights in (("a", first), ("b", second)):
            expected = torch.zeros(len(real[name]), dtype=torch.float64)
            expected[real[name]] = torch.tensor(weights, dtype=torch.float64) / count
            torch.testing.assert_close(found[f"attention.{name}"][row], expected)


def test_it_says_where_there_is_no_choice():
    fusion = GuidedAttentionFusion({"a": 5, "b": 3}, width=8)
    given = {"a": Features.of(torch.randn(2, 5)), "b": Features.of(torch.randn(2, 3, 3))}
    assert fusion.remarks(given)[0].startswith("attention from the others to a, which has one token, has no choice")
    assert fusion.remarks(_given()) == []


def test_an_anchor_is_an_input_beside_others():
    with pytest.raises(ValueError, match="anchor d is no input; there are a, b"):
        GuidedAttentionFusion({"a": 3, "b": 2}, anchor="d")
