"""Latents for every sample, one cross-attention to the joined tokens and a transformer, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, cross, transformer
from mmkit.fusions.tokens.perceiver import PerceiverFusion


def obvious(fusion: PerceiverFusion, inputs: Inputs) -> Tensor:
    tokens = torch.cat([linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)], 1)
    mask = torch.cat([mask for _, mask in inputs], 1)
    latents = fusion.latents.values.expand(len(tokens), -1, -1)
    found = cross(fusion.look, latents, tokens, mask)
    for layer in fusion.layers:
        found = transformer(layer, found, None)
    return fusion.norm(found).mean(1)
