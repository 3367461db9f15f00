"""A stream for each ordered pair of inputs, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, cross, masked_mean, transformer
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion


def obvious(fusion: CrossAttentionFusion, inputs: Inputs) -> Tensor:
    names = list(fusion.project)
    first = [linear(tokens) for linear, (tokens, _) in zip(fusion.project.values(), inputs, strict=True)]
    fused = []
    for i, name in enumerate(names):
        streams = []
        for j, other in enumerate(names):
            if i != j:
                stream = first[i]
                for layer in fusion.cross[fusion.pairs.index((name, other))].layers:
                    stream = cross(layer, stream, first[j], inputs[j][1])
                streams.append(stream)
        joined = transformer(fusion.within[name], fusion.join[name](torch.cat(streams, 2)), inputs[i][1])
        fused.append(masked_mean(fusion.norm[name](joined), inputs[i][1]))
    return fusion.mix(torch.cat(fused, 1))
