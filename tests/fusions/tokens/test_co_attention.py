"""Co-attention, against one that takes one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.co_attention import CoAttentionFusion


@pytest.mark.parametrize("name", ["two", "three", "four"])
@pytest.mark.parametrize("layers", [1, 2])
def test_every_input_looks_at_the_others_as_they_were(make, perturbed, same, slow_layer, name, layers):
    case = make(name)
    fusion = perturbed(CoAttentionFusion(case.widths, width=4, heads=2, layers=layers))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        tokens = {n: [fusion.project[n](token) for token in case.tokens(n, sample)] for n in case.widths}
        for number in range(layers):
            old = tokens
            tokens = {}
            for n in case.widths:
                context = [token for other in case.widths if other != n for token in old[other]]
                seen = slow_layer(fusion.cross[number][n], old[n], context)
                tokens[n] = slow_layer(fusion.within[number][n], seen)
        last = {n: [fusion.norm(token) for token in each] for n, each in tokens.items()}
        everything = [token for n in case.widths for token in last[n]]
        if everything:
            same(fused.tokens[sample][fused.mask[sample]], everything)
        means = [sum(each) / len(each) for each in last.values() if each]
        expected.append(sum(means) / len(means) if means else torch.zeros(4, dtype=torch.float64))
    same(fused.vector(), expected)


def _given():
    torch.manual_seed(1)
    return {
        "a": Features.of(torch.randn(2, 4, 5, dtype=torch.float64), torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool()),
        "b": Features.of(torch.randn(2, 3, 3, dtype=torch.float64), torch.tensor([[1, 1, 1], [0, 0, 0]]).bool()),
    }


def test_swapping_two_inputs_with_their_layers_changes_nothing():
    torch.manual_seed(0)
    fusion = CoAttentionFusion({"a": 5, "b": 3}, width=8, heads=2, layers=2).double().eval()
    other = CoAttentionFusion({"a": 3, "b": 5}, width=8, heads=2, layers=2).double().eval()
    names = {"a": "b", "b": "a"}
    other.load_state_dict({".".join(names.get(p, p) for p in k.split(".")): v for k, v in fusion.state_dict().items()})
    given = _given()
    swapped = {"a": given["b"], "b": given["a"]}
    torch.testing.assert_close(other(swapped).vector(), fusion(given).vector())


@pytest.mark.parametrize("layers", [1, 3])
def test_number_of_parameters(layers):
    h, widths = 16, {"a": 5, "b": 3, "c": 2}
    fusion = CoAttentionFusion(widths, width=h, layers=layers)
    expected = sum(widths.values()) * h + 3 * h + 3 * layers * (16 * h * h + 22 * h) + 2 * h
    assert sum(parameter.numel() for parameter in fusion.parameters()) == expected


def test_it_says_where_there_is_no_choice():
    given = {"a": Features.of(torch.randn(2, 4, 5)), "b": Features.of(torch.randn(2, 3))}
    said = CoAttentionFusion({"a": 5, "b": 3}, width=8).remarks(given)
    assert len(said) == 1
    assert said[0].startswith("attention from a to b, which has one token, has no choice")


def test_one_input_has_nobody_to_look_at():
    with pytest.raises(ValueError, match=r"co-attention is between inputs; got 1 \(a\)"):
        CoAttentionFusion({"a": 3})
