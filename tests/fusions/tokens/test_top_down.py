"""Top-down attention, against a loop over single tokens."""

import math

import pytest
import torch
from torch.nn.functional import elu

from mmkit.contract import Features
from mmkit.fusions.tokens.top_down import TopDownFusion


@pytest.mark.parametrize("name", ["two", "three", "four"])
@pytest.mark.parametrize("last", [False, True])
def test_the_anchor_chooses_among_every_real_token_of_the_others(make, perturbed, same, name, last):
    case = make(name)
    anchor = sorted(case.widths)[-1 if last else 0]
    fusion = perturbed(TopDownFusion(case.widths, width=4, anchor=anchor if last else None))
    expected = []
    for sample in range(case.batch):
        asks = case.filled(anchor, sample)
        tokens = [fusion.project[n](token) for n in case.widths if n != anchor for token in case.tokens(n, sample)]
        scores = [
            math.exp(float(fusion.score(elu(fusion.of_token(token) + fusion.of_anchor(asks))))) for token in tokens
        ]
        result = torch.ones(4, dtype=torch.float64)
        if case.tokens(anchor, sample):
            result = result * elu(fusion.first(asks))
        if tokens:
            mean = sum(score / sum(scores) * token for score, token in zip(scores, tokens, strict=True))
            result = result * elu(fusion.second(mean))
        expected.append(result)
    same(fusion(case.features).vector(), expected)


def _given():
    torch.manual_seed(1)
    return {
        "a": Features.of(torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()),
        "b": Features.of(torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([[1, 0, 1], [0, 0, 0]]).bool()),
    }


def test_without_choice_it_is_a_product_of_layers_and_says_so():
    torch.manual_seed(0)
    fusion = TopDownFusion({"a": 5, "b": 3}, width=8).double().eval()
    given = {"a": _given()["a"], "b": Features.of(torch.randn(2, 3, dtype=torch.float64))}
    expected = elu(fusion.first(given["a"].vector())) * elu(fusion.second(fusion.project["b"](given["b"].vector())))
    torch.testing.assert_close(fusion(given).vector(), expected)
    assert fusion.remarks(given)[0].startswith("b has one token, which gets all attention")
    assert fusion.remarks(_given()) == []


def test_told_or_not_nothing_missing_is_the_same():
    torch.manual_seed(0)
    fusion = TopDownFusion({"a": 5, "b": 3}, width=8).double().eval()
    told = {name: Features.of(f.tokens) for name, f in _given().items()}
    untold = {name: Features.of(f.tokens, torch.ones_like(f.mask)) for name, f in _given().items()}
    torch.testing.assert_close(fusion(told).vector(), fusion(untold).vector())


def test_number_of_parameters():
    h, widths = 16, {"a": 5, "b": 3, "c": 2}
    fusion = TopDownFusion(widths, width=h)
    expected = (3 + 2) * h + 2 * h + h * h + 2 * (5 * h + h) + h + h * h + h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_details_are_the_weights():
    torch.manual_seed(0)
    fusion, given = TopDownFusion({"a": 5, "b": 3}, width=8).double().eval(), _given()
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    assert set(found) == {"attention.b"}
    tokens = fusion.project["b"](given["b"].tokens[0][given["b"].mask[0]])
    hidden = elu(fusion.of_token(tokens) + fusion.of_anchor(given["a"].vector()[0]))
    torch.testing.assert_close(found["attention.b"][0][given["b"].mask[0]], fusion.score(hidden).squeeze(1).softmax(0))
    assert bool((found["attention.b"][1] == 0).all())


def test_an_anchor_is_an_input_beside_others():
    with pytest.raises(ValueError, match="anchor d is no input; there are a, b"):
        TopDownFusion({"a": 3, "b": 2}, anchor="d")
