"""Cross-attention, against MulT's streams over one sample, one head, one query and one key at a time."""

import pytest
import torch

from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion


@pytest.mark.parametrize("layers", [1, 2])
def test_every_input_looks_at_every_other(case, perturbed, same, slow_layer, layers):
    fusion = perturbed(CrossAttentionFusion(case.widths, width=4, layers=layers, heads=2))
    fused = fusion(case.features)
    expected = []
    for sample in range(case.batch):
        first = {n: [fusion.project[n](token) for token in case.tokens(n, sample)] for n in case.widths}
        everything, vectors = [], []
        for name in case.widths:
            streams = []
            for other in [n for n in case.widths if n != name] or [name]:
                stream = first[name]
                for layer in fusion.cross[fusion.pairs.index((name, other))].layers:
                    stream = slow_layer(layer, stream, first[other])
                streams.append(stream)
            joined = [fusion.join[name](torch.cat(parts)) for parts in zip(*streams, strict=True)]
            tokens = [fusion.norm[name](token) for token in slow_layer(fusion.within[name], joined)]
            everything += tokens
            vectors.append(sum(tokens) / len(tokens) if tokens else torch.zeros(4, dtype=torch.float64))
        if everything:
            same(fused.tokens[sample][fused.mask[sample]], everything)
        there = bool(everything)
        expected.append(fusion.mix(torch.cat(vectors)) if there else torch.zeros(4, dtype=torch.float64))
    same(fused.vector(), expected)


@pytest.mark.parametrize(("inputs", "pairs"), [("a", 1), ("ab", 2), ("abc", 6), ("abcd", 12)])
def test_has_a_stream_for_every_ordered_pair(inputs, pairs):
    fusion = CrossAttentionFusion(dict.fromkeys(inputs, 3), width=4)
    assert len(set(fusion.pairs)) == len(fusion.cross) == pairs
