"""The vector transformer, against one that takes one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.vectors.vector_transformer import VectorTransformerFusion


@pytest.mark.parametrize(("layers", "heads"), [(1, 4), (2, 2)])
def test_the_learned_token_sees_every_input_that_is_there(case, perturbed, same, slow_layer, layers, heads):
    fusion = perturbed(VectorTransformerFusion(case.widths, width=8, layers=layers, heads=heads))
    expected = []
    for sample in range(case.batch):
        vectors = {name: case.vector(name, sample) for name in case.widths}
        tokens = [fusion.project[name](vector) for name, vector in vectors.items() if vector is not None]
        tokens = [fusion.cls.values[0], *tokens]
        for layer in fusion.layers:
            tokens = slow_layer(layer, tokens)
        expected.append(fusion.norm(tokens[0]))
    fused = fusion(case.features)
    assert fused.mask.all()
    same(fused.vector(), expected)


def _pair():
    torch.manual_seed(0)
    widths = {"a": 5, "b": 3, "c": 5}
    fusion = VectorTransformerFusion(widths, width=8, heads=2).double().eval()
    return fusion, {name: torch.randn(6, d, dtype=torch.float64) for name, d in widths.items()}


def test_it_is_attention_with_a_learned_token_over_one_token_an_input():
    fusion, vectors = _pair()
    given = {name: Features.of(x, torch.rand(6) < 0.7) for name, x in vectors.items()}
    other = AttentionFusion({"a": 5, "b": 3, "c": 5}, width=8, heads=2, layers=2, pool="cls").double().eval()
    state = fusion.state_dict()
    state["cls"] = state.pop("cls.values")[0]
    other.load_state_dict(state)
    there = torch.stack([f.present() for f in given.values()]).any(0)
    torch.testing.assert_close(fusion(given).vector()[there], other(given).vector()[there])


def test_told_or_not_nothing_missing_is_the_same():
    fusion, vectors = _pair()
    told = fusion({name: Features.of(x) for name, x in vectors.items()})
    untold = fusion({name: Features.of(x, torch.ones(6, dtype=torch.bool)) for name, x in vectors.items()})
    torch.testing.assert_close(told.vector(), untold.vector())


def test_the_order_of_inputs_does_not_matter():
    fusion, vectors = _pair()
    other = VectorTransformerFusion({"c": 5, "b": 3, "a": 5}, width=8, heads=2).double().eval()
    state = fusion.state_dict()
    for kind in ("weight", "bias"):
        state[f"project.a.{kind}"], state[f"project.c.{kind}"] = state[f"project.c.{kind}"], state[f"project.a.{kind}"]
    other.load_state_dict(state)
    given = {name: Features.of(x) for name, x in vectors.items()}
    swapped = {"a": given["c"], "b": given["b"], "c": given["a"]}
    torch.testing.assert_close(other(swapped).vector(), fusion(given).vector())


@pytest.mark.parametrize("layers", [1, 3])
def test_number_of_parameters(layers):
    h, widths = 16, {"a": 5, "b": 3}
    fusion = VectorTransformerFusion(widths, width=h, layers=layers)
    expected = sum(widths.values()) * h + 2 * h + h + layers * (8 * h * h + 10 * h) + 2 * h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_details_are_the_weights_that_the_learned_token_gives():
    fusion, vectors = _pair()
    mask = {"a": torch.tensor([1, 1, 1, 0, 0, 0]), "b": torch.tensor([1, 0, 1, 1, 0, 0]), "c": torch.ones(6)}
    mask["c"][5] = 0
    given = {name: Features.of(x, mask[name].bool()) for name, x in vectors.items()}
    assert fusion(given).details == {}
    fusion.detailed = True
    found = torch.stack([fusion(given).details[f"weight.{name}"] for name in "abc"], 1)
    last = fusion.layers[1].attention
    for row in range(5):
        here = [name for name in "abc" if mask[name][row]]
        tokens = torch.stack([fusion.cls.values[0], *(fusion.project[n](vectors[n][row]) for n in here)])
        tokens = fusion.layers[1].before_attention(fusion.layers[0](tokens[None], None))[0]
        key = last.key_value(tokens).chunk(2, 1)[0].unflatten(1, (2, 4))  # [S N D/N]
        scores = torch.einsum("nd,snd->ns", last.query(tokens[0]).unflatten(0, (2, 4)), key) / 2
        weights = scores.softmax(1).mean(0)[1:]
        expected = dict(zip(here, weights / weights.sum(), strict=True))
        for column, name in enumerate("abc"):
            torch.testing.assert_close(found[row, column], expected.get(name, torch.zeros((), dtype=torch.float64)))
    assert bool((found[5] == 0).all())
