"""The anchor's tokens, or the one that stands in, look at the joined others, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, cross, masked_mean
from mmkit.fusions.tokens.gated_attention import GatedAttentionFusion


def obvious(fusion: GatedAttentionFusion, inputs: Inputs) -> Tensor:
    tokens, *others = [linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)]
    (_, own), *rest = inputs
    mask = torch.cat([mask for _, mask in rest], 1)
    absent = torch.zeros_like(own)
    absent[:, 0] = ~own.any(1)
    tokens = torch.where(absent.unsqueeze(2), fusion.stand_in.values, tokens)
    for layer in fusion.layers:
        tokens = cross(layer, tokens, torch.cat(others, 1), mask)
    return masked_mean(tokens, own | absent)
