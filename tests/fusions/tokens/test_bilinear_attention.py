"""Bilinear attention, against a loop over single pairs of tokens."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.bilinear_attention import BilinearAttentionFusion


def _parts(fusion, name, token):
    """The vector for the scores and those for the glimpses; ones of a missing input, which has one such token."""
    both = torch.ones_like(fusion.project[name].bias) if token is None else fusion.project[name](token)
    return both[: fusion.rank].clamp(min=0), both[fusion.rank :].view(fusion.glimpses, fusion.width)


def _pairs(fusion, tokens):
    """One sample: the weights of all pairs [G T S], and its result."""
    first, second = ([_parts(fusion, name, token) for token in each or [None]] for name, each in tokens.items())
    results, weights = [], []
    for g in range(fusion.glimpses):
        scores = [[math.exp(float((fusion.scores[g] * u * v).sum())) for v, _ in second] for u, _ in first]
        total = sum(map(sum, scores))
        result = torch.zeros(fusion.width, dtype=torch.float64)
        for row, (_, x) in zip(scores, first, strict=True):
            for score, (_, y) in zip(row, second, strict=True):
                result = result + score / total * x[g] * y[g]
        results.append(result)
        weights.append(torch.tensor(scores, dtype=torch.float64) / total)
    return torch.stack(weights), fusion.mix(torch.cat(results))


def _case(seed=0):
    """All patterns of missing inputs, holes among the tokens."""
    generator = torch.Generator().manual_seed(seed)
    masks = {
        "a": torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0]]).bool(),
        "b": torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]).bool(),
    }
    widths = {"a": 5, "b": 3}
    given = {
        n: Features.of(torch.randn(*mask.shape, widths[n], generator=generator, dtype=torch.float64), mask)
        for n, mask in masks.items()
    }
    return widths, given


@pytest.mark.parametrize(("glimpses", "rank"), [(1, 1), (4, 3)])
def test_every_pair_of_real_tokens_is_weighed(perturbed, same, glimpses, rank):
    widths, given = _case()
    fusion = perturbed(BilinearAttentionFusion(widths, width=4, glimpses=glimpses, rank=rank))
    expected = []
    for row in range(5):
        tokens = {name: list(f.tokens[row][f.mask[row]]) for name, f in given.items()}
        expected.append(_pairs(fusion, tokens)[1])
    same(fusion(given).vector(), expected)


def test_two_inputs_of_the_shared_cases(make, perturbed, same):
    case = make("two")
    fusion = perturbed(BilinearAttentionFusion(case.widths, width=4))
    expected = [_pairs(fusion, {n: case.tokens(n, row) for n in case.widths})[1] for row in range(case.batch)]
    same(fusion(case.features).vector(), expected)


def test_of_one_token_each_it_is_the_product_of_projections():
    torch.manual_seed(0)
    fusion = BilinearAttentionFusion({"a": 5, "b": 3}, width=4).double().eval()
    x, y = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    product = fusion.project["a"](x)[:, fusion.rank :] * fusion.project["b"](y)[:, fusion.rank :]
    torch.testing.assert_close(fusion({"a": Features.of(x), "b": Features.of(y)}).vector(), fusion.mix(product))


def test_swapping_the_inputs_with_their_projections_changes_nothing():
    torch.manual_seed(0)
    widths, given = _case()
    fusion = BilinearAttentionFusion(widths, width=4).double().eval()
    other = BilinearAttentionFusion({"a": 3, "b": 5}, width=4).double().eval()
    names = {"a": "b", "b": "a"}
    other.load_state_dict({".".join(names.get(p, p) for p in k.split(".")): v for k, v in fusion.state_dict().items()})
    swapped = {"a": given["b"], "b": given["a"]}
    torch.testing.assert_close(other(swapped).vector(), fusion(given).vector())


def test_told_or_not_nothing_missing_is_the_same():
    torch.manual_seed(0)
    widths, given = _case()
    fusion = BilinearAttentionFusion(widths, width=4).double().eval()
    told = {name: Features.of(f.tokens) for name, f in given.items()}
    untold = {name: Features.of(f.tokens, torch.ones_like(f.mask)) for name, f in given.items()}
    torch.testing.assert_close(fusion(told).vector(), fusion(untold).vector())


@pytest.mark.parametrize(("glimpses", "rank"), [(1, 2), (4, 3)])
def test_number_of_parameters(glimpses, rank):
    h, widths = 16, {"a": 5, "b": 3}
    fusion = BilinearAttentionFusion(widths, width=h, glimpses=glimpses, rank=rank)
    expected = (5 + 3 + 2) * (rank + glimpses) * h + glimpses * rank * h + glimpses * h * h + h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_details_are_the_weights_of_the_pairs_that_a_token_is_in(perturbed):
    widths, given = _case()
    fusion = perturbed(BilinearAttentionFusion(widths, width=4))
    assert fusion(given).details == {}
    fusion.detailed = True
    found = fusion(given).details
    for row in range(5):
        real = {name: f.mask[row] for name, f in given.items()}
        weights = _pairs(fusion, {name: list(f.tokens[row][real[name]]) for name, f in given.items()})[0].mean(0)
        own = {"a": weights.sum(1), "b": weights.sum(0)}
        count = sum(bool(mask.any()) for mask in real.values())
        for name, mask in real.items():
            expected = torch.zeros(len(mask), dtype=torch.float64)
            if mask.any():
                expected[mask] = own[name] / count
            torch.testing.assert_close(found[f"attention.{name}"][row], expected)


@pytest.mark.parametrize("inputs", ["a", "abc"])
def test_pairs_are_of_two_inputs(inputs):
    with pytest.raises(ValueError, match=f"pairs of tokens are of two inputs; got {len(inputs)} "):
        BilinearAttentionFusion(dict.fromkeys(inputs, 3))
