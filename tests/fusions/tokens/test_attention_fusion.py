"""Attention, against a transformer that takes one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.fusions.tokens.attention import AttentionFusion


@pytest.mark.parametrize(("layers", "heads"), [(1, 4), (2, 2)])
def test_every_token_sees_every_real_one(case, perturbed, same, slow_layer, layers, heads):
    fusion = perturbed(AttentionFusion(case.widths, width=8, layers=layers, heads=heads))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        tokens = [fusion.project[name](token) for name in case.widths for token in case.tokens(name, sample)]
        for layer in fusion.layers:
            tokens = slow_layer(layer, tokens)
        tokens = [fusion.norm(token) for token in tokens]
        assert fused.mask[sample].sum() == len(tokens)
        if tokens:
            same(fused.tokens[sample][fused.mask[sample]], tokens)
        expected.append(sum(tokens) / len(tokens) if tokens else torch.zeros(8, dtype=torch.float64))
    same(fused.vector(), expected)


def test_the_cls_token_looks_at_all(case, perturbed, same, slow_layer):
    fusion = perturbed(AttentionFusion(case.widths, width=8, pool="cls", layers=2))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        tokens = [fusion.project[name](token) for name in case.widths for token in case.tokens(name, sample)]
        there = bool(tokens)
        tokens = [fusion.cls, *tokens]
        for layer in fusion.layers:
            tokens = slow_layer(layer, tokens)
        expected.append(fusion.norm(tokens[0]) if there else torch.zeros(8, dtype=torch.float64))
    same(fused.vector(), expected)
    assert fused.tokens.shape[1] == sum(each.tokens.shape[1] for each in case.features.values())


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 10 is not divisible by heads 4; take heads that divide it"):
        AttentionFusion({"a": 3}, width=10)
