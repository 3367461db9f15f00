"""A transformer over the joined tokens, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, masked_mean, transformer
from mmkit.fusions.tokens.attention import AttentionFusion


def obvious(fusion: AttentionFusion, inputs: Inputs) -> Tensor:
    tokens = torch.cat([linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)], 1)
    mask = torch.cat([mask for _, mask in inputs], 1)
    for layer in fusion.layers:
        tokens = transformer(layer, tokens, mask)
    return masked_mean(fusion.norm(tokens), mask)
