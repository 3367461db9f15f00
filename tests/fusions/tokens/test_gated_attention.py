"""Gated cross-attention, against one that takes one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.gated_attention import GatedAttentionFusion


@pytest.mark.parametrize("name", ["two", "three", "four"])
@pytest.mark.parametrize(("layers", "last"), [(1, False), (2, True)])
def test_the_anchor_looks_at_every_real_token_of_the_others(make, perturbed, same, slow_layer, name, layers, last):
    case = make(name)
    anchor = sorted(case.widths)[-1 if last else 0]
    options = {"width": 4, "heads": 2, "layers": layers, "anchor": anchor if last else None}
    fusion = perturbed(GatedAttentionFusion(case.widths, **options))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        tokens = [fusion.project[anchor](token) for token in case.tokens(anchor, sample)]
        tokens = tokens or [fusion.stand_in.values[0]]
        context = [fusion.project[n](token) for n in case.widths if n != anchor for token in case.tokens(n, sample)]
        for layer in fusion.layers:
            tokens = slow_layer(layer, tokens, context)
        same(fused.tokens[sample][fused.mask[sample]], tokens)
        expected.append(sum(tokens) / len(tokens))
    same(fused.vector(), expected)


def _given():
    torch.manual_seed(1)
    masks = {"a": torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0]]), "b": torch.tensor([[1, 1], [0, 0], [1, 0]])}
    return {
        "a": Features.of(torch.randn(3, 3, 5, dtype=torch.float64), masks["a"].bool()),
        "b": Features.of(torch.randn(3, 2, 4, dtype=torch.float64), masks["b"].bool()),
        "c": Features.of(torch.randn(3, 1, 2, dtype=torch.float64), torch.tensor([[1], [0], [1]]).bool()),
    }


def _made(**options):
    torch.manual_seed(0)
    return GatedAttentionFusion({"a": 5, "b": 4, "c": 2}, width=8, heads=2, **options).double().eval()


def test_at_the_start_it_is_the_projected_anchor_and_the_gates_alone_learn():
    fusion, given = _made(layers=2), _given()
    fused = fusion(given)
    expected = fusion.project["a"](given["a"].tokens).masked_fill(~given["a"].mask.unsqueeze(2), 0)
    assert torch.equal(fused.tokens[:2], expected[:2])
    fused.vector()[:2].square().sum().backward()
    for name, parameter in fusion.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached == name.endswith(("gates", "project.a.weight", "project.a.bias")), name


def test_without_others_the_attention_is_zero():
    fusion, given = _made(), _given()
    with torch.no_grad():
        fusion.layers[0].gates.fill_(1.0)
    state = fusion.project["a"](given["a"].tokens[1])
    expected = state + torch.ones(()).tanh() * fusion.layers[0].feed_forward(state)
    torch.testing.assert_close(fusion(given).tokens[1], expected)


def test_where_the_anchor_is_missing_the_others_are_not_lost():
    fusion, given = _made(), _given()
    with torch.no_grad():
        fusion.layers[0].gates.fill_(1.0)
    fused = fusion(given)
    assert fused.mask[2].tolist() == [True, False, False]
    changed = {**given, "b": Features.of(given["b"].tokens + 1, given["b"].mask)}
    assert bool((fusion(changed).vector()[2] != fused.vector()[2]).any())


def test_told_or_not_nothing_missing_is_the_same():
    fusion = _made()
    with torch.no_grad():
        fusion.layers[0].gates.fill_(1.0)
    given = {name: features.tokens for name, features in _given().items()}
    untold = {name: Features.of(x, torch.ones(x.shape[:2], dtype=torch.bool)) for name, x in given.items()}
    told = {name: Features.of(x) for name, x in given.items()}
    torch.testing.assert_close(fusion(told).vector(), fusion(untold).vector())


@pytest.mark.parametrize("layers", [1, 3])
def test_number_of_parameters(layers):
    h, widths = 16, {"a": 5, "b": 3, "c": 2}
    fusion = GatedAttentionFusion(widths, width=h, layers=layers)
    expected = sum(widths.values()) * h + 3 * h + h + layers * (12 * h * h + 6 * h + 2)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_details_are_what_the_anchor_takes_of_the_others():
    fusion, given = _made(), _given()
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    layer = fusion.layers[0]
    assert set(found) == {"attention.b", "attention.c"}
    for row in (0, 2):
        own = fusion.project["a"](given["a"].tokens[row][given["a"].mask[row]])
        own = own if len(own) else fusion.stand_in.values
        context = torch.cat([fusion.project[n](given[n].tokens[row][given[n].mask[row]]) for n in "bc"])
        query = layer.attention.query(layer.before_attention(own)).unflatten(1, (2, 4))
        key = layer.attention.key_value(layer.before_context(context)).chunk(2, 1)[0].unflatten(1, (2, 4))
        expected = (torch.einsum("tnd,snd->nts", query, key) / 2).softmax(2).mean((0, 1))
        got = torch.cat([found[f"attention.{n}"][row][given[n].mask[row]] for n in "bc"])
        torch.testing.assert_close(got, expected)
    assert bool((found["attention.b"][1] == 0).all())


def test_an_anchor_is_an_input_beside_others():
    with pytest.raises(ValueError, match="anchor d is no input; there are a, b"):
        GatedAttentionFusion({"a": 3, "b": 2}, anchor="d")
    with pytest.raises(ValueError, match="an anchor needs another input beside it"):
        GatedAttentionFusion({"a": 3})
