"""What fusions say before training of attention that has no choice, and that it is so."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.bilinear_attention import BilinearAttentionFusion
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion
from mmkit.fusions.tokens.gated_attention import GatedAttentionFusion

CHOICELESS = {
    CrossAttentionFusion: "attention from a to b, which has one token, has no choice",
    GatedAttentionFusion: "attention from a to b, which has one token, has no choice",
    BilinearAttentionFusion: "a and b have one token each",
}


def _given(first, second):
    return {"a": Features.of(torch.randn(2, first, 3)), "b": Features.of(torch.randn(2, second, 4))}


@pytest.mark.parametrize("fusion", CHOICELESS)
def test_it_is_said_where_there_is_no_choice_and_only_there(fusion):
    module = fusion({"a": 3, "b": 4}, width=8)
    short = 1 if fusion is BilinearAttentionFusion else 5
    said = module.remarks(_given(short, 1))
    assert len(said) == 1
    assert said[0].startswith(CHOICELESS[fusion])
    assert module.remarks(_given(5, 2)) == []


def test_a_third_input_gives_gated_attention_a_choice():
    module = GatedAttentionFusion({"a": 3, "b": 4, "c": 2}, width=8)
    given = {**_given(5, 1), "c": Features.of(torch.randn(2, 2))}
    assert module.remarks(given) == []


def test_of_one_token_gated_attention_takes_the_same_whatever_the_anchor_holds():
    """The remark's own claim: a linear map of the normed token, however the queries are."""
    torch.manual_seed(0)
    module = GatedAttentionFusion({"a": 3, "b": 4}, width=8).double().eval()
    layer = module.layers[0]
    given = {n: Features.of(f.tokens.double()) for n, f in _given(5, 1).items()}
    context = module.project["b"](given["b"].tokens)
    queries = torch.randn(2, 5, 8, dtype=torch.float64)
    seen = layer.attention(queries, layer.before_context(context), None)
    value = layer.attention.key_value(layer.before_context(context)).chunk(2, 2)[1]
    torch.testing.assert_close(seen, layer.attention.out(value).expand(-1, 5, -1))
