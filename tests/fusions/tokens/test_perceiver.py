"""The Perceiver, against one that takes one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.perceiver import PerceiverFusion
from mmkit.layers.attention import Attention


@pytest.mark.parametrize(("layers", "cross_heads", "pool"), [(1, 1, "mean"), (2, 2, "query"), (0, 4, "mean")])
def test_latents_look_at_every_real_token_then_at_each_other(
    case, perturbed, same, slow_layer, layers, cross_heads, pool
):
    options = {"width": 4, "heads": 2, "latents": 3, "layers": layers, "cross_heads": cross_heads, "pool": pool}
    fusion = perturbed(PerceiverFusion(case.widths, **options))
    fused = fusion(case.features)
    tokens, vectors = [], []
    for sample in range(case.batch):
        context = [fusion.project[name](token) for name in case.widths for token in case.tokens(name, sample)]
        latents = slow_layer(fusion.look, list(fusion.latents.values), context)
        for layer in fusion.layers:
            latents = slow_layer(layer, latents)
        normed = [fusion.norm(each) for each in latents]
        tokens.append(torch.stack(normed))
        if pool == "mean":
            vectors.append(sum(normed) / len(normed))
        else:
            (state,) = slow_layer(fusion.read, list(fusion.query.values), latents)
            vectors.append(fusion.norm(state))
    assert fused.mask.all()
    same(fused.tokens, tokens)
    same(fused.vector(), vectors)


def _pair(**options):
    torch.manual_seed(0)
    fusion = PerceiverFusion({"a": 5, "b": 3}, width=8, heads=2, latents=3, layers=2, **options).double().eval()
    given = {
        "a": Features.of(torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()),
        "b": Features.of(torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([[1, 1, 1], [0, 0, 0]]).bool()),
    }
    return fusion, given


def test_the_order_of_tokens_does_not_matter():
    fusion, given = _pair()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {**given, "a": Features.of(given["a"].tokens[:, order], given["a"].mask[:, order])}
    torch.testing.assert_close(fusion(shuffled).tokens, fusion(given).tokens)


def test_without_any_input_the_latents_go_on_alone():
    fusion, given = _pair()
    nothing = {n: Features.of(f.tokens, torch.zeros_like(f.mask)) for n, f in given.items()}
    found = fusion(nothing).tokens
    latents = fusion.latents.values[None]
    latents = latents + fusion.look.feed_forward(latents)
    for layer in fusion.layers:
        latents = layer(latents, None)
    torch.testing.assert_close(found, fusion.norm(latents).expand(2, -1, -1))


@pytest.mark.parametrize("pool", ["mean", "query"])
def test_number_of_parameters(pool):
    h, k, widths, layers = 16, 6, {"a": 5, "b": 3}, 3
    fusion = PerceiverFusion(widths, width=h, latents=k, layers=layers, pool=pool)
    one = 8 * h * h + 10 * h
    expected = sum(widths.values()) * h + 2 * h + k * h + (layers + 1) * one + 2 * h + 2 * h
    expected += (one + 3 * h) if pool == "query" else 0
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_keys_of_the_tokens_are_made_once_and_queries_of_the_latents_for_no_sample(monkeypatch):
    fusion, given = _pair()
    shapes = []
    attend = Attention.forward

    def listen(self, queries, context, mask):
        shapes.append((queries.shape[0], context.shape[1]))
        return attend(self, queries, context, mask)

    monkeypatch.setattr(Attention, "forward", listen)
    fusion(given)
    assert shapes == [(1, 7), (2, 3), (2, 3)]


def test_details_are_the_weights_of_the_cross_attention():
    fusion, given = _pair()
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    layer = fusion.look
    query = layer.attention.query(layer.before_attention(fusion.latents.values))
    for row in range(2):
        context = torch.cat([fusion.project[n](given[n].tokens[row][given[n].mask[row]]) for n in "ab"])
        key = layer.attention.key_value(layer.before_context(context)).chunk(2, 1)[0]
        expected = (query @ key.T / 8**0.5).softmax(1).mean(0)
        got = torch.cat([found[f"attention.{n}"][row][given[n].mask[row]] for n in "ab"])
        torch.testing.assert_close(got, expected)
        assert all(bool((found[f"attention.{n}"][row][~given[n].mask[row]] == 0).all()) for n in "ab")
