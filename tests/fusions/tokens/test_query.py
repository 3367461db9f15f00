"""The querying transformer, against one that takes one sample, one head, one query and one key at a time."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.fusions.tokens.perceiver import PerceiverFusion
from mmkit.fusions.tokens.query import QueryFusion


def _branch(attention, queries, context):
    """What the slow layer needs for a branch of attention alone."""
    return SimpleNamespace(
        attention=attention, before_attention=queries, before_context=context, feed_forward=torch.zeros_like
    )


@pytest.mark.parametrize(("layers", "every"), [(1, 1), (2, 2), (3, 2), (2, 1)])
def test_queries_look_at_every_real_token(case, perturbed, same, slow_layer, layers, every):
    fusion = perturbed(QueryFusion(case.widths, width=4, heads=2, queries=3, layers=layers, every=every))
    fused = fusion(case.features)
    tokens = []
    for sample in range(case.batch):
        context = [fusion.project[name](token) for name in case.widths for token in case.tokens(name, sample)]
        queries = list(fusion.queries.values)
        for number, layer in enumerate(fusion.layers):
            queries = slow_layer(_branch(layer.attention, layer.before_attention, None), queries)
            if number % every == 0:
                queries = slow_layer(_branch(layer.cross, layer.before_cross, layer.before_context), queries, context)
            queries = [query + layer.feed_forward(query) for query in queries]
        tokens.append(torch.stack([fusion.norm(query) for query in queries]))
    assert fused.mask.all()
    same(fused.tokens, tokens)
    same(fused.vector(), [each.mean(0) for each in tokens])


def _given():
    torch.manual_seed(1)
    return {
        "a": Features.of(torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()),
        "b": Features.of(torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([[1, 1, 1], [0, 0, 0]]).bool()),
    }


def test_one_layer_whose_queries_ignore_each_other_is_a_perceiver_without_layers():
    torch.manual_seed(0)
    fusion = QueryFusion({"a": 5, "b": 3}, width=8, heads=2, queries=3, layers=1).double().eval()
    nn.init.zeros_(fusion.layers[0].attention.out.weight)
    other = PerceiverFusion({"a": 5, "b": 3}, width=8, latents=3, layers=0, cross_heads=2).double().eval()
    names = {
        "queries": "latents",
        "layers.0.before_cross": "look.before_attention",
        "layers.0.before_context": "look.before_context",
        "layers.0.cross": "look.attention",
        "layers.0.feed_forward": "look.feed_forward",
        "layers.0.before_attention": "",
        "layers.0.attention": "",
    }
    state = {}
    for key, value in fusion.state_dict().items():
        begin = next((name for name in names if key.startswith(f"{name}.")), None)
        if begin is None or names[begin]:
            state[key if begin is None else names[begin] + key.removeprefix(begin)] = value
    other.load_state_dict(state)
    torch.testing.assert_close(fusion(_given()).tokens, other(_given()).tokens)


def test_the_order_of_tokens_does_not_matter():
    torch.manual_seed(0)
    fusion = QueryFusion({"a": 5, "b": 3}, width=8, heads=2).double().eval()
    given, order = _given(), torch.tensor([2, 0, 3, 1])
    shuffled = {**given, "a": Features.of(given["a"].tokens[:, order], given["a"].mask[:, order])}
    torch.testing.assert_close(fusion(shuffled).tokens, fusion(given).tokens)


@pytest.mark.parametrize(("layers", "every", "looks"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (3, 1, 3)])
def test_number_of_parameters(layers, every, looks):
    h, k, widths = 16, 6, {"a": 5, "b": 3}
    fusion = QueryFusion(widths, width=h, queries=k, layers=layers, every=every)
    expected = sum(widths.values()) * h + 2 * h + k * h + layers * (8 * h * h + 10 * h) + looks * (4 * h * h + 7 * h)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected + 2 * h


def test_details_are_the_weights_of_the_cross_attention():
    torch.manual_seed(0)
    fusion, given = QueryFusion({"a": 5, "b": 3}, width=8, heads=1, queries=3).double().eval(), _given()
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    layer = fusion.layers[0]
    query = layer.cross.query(layer.before_cross(layer.among(fusion.queries())))[0]
    for row in range(2):
        context = torch.cat([fusion.project[n](given[n].tokens[row][given[n].mask[row]]) for n in "ab"])
        key = layer.cross.key_value(layer.before_context(context)).chunk(2, 1)[0]
        expected = (query @ key.T / 8**0.5).softmax(1).mean(0)
        got = torch.cat([found[f"attention.{n}"][row][given[n].mask[row]] for n in "ab"])
        torch.testing.assert_close(got, expected)
