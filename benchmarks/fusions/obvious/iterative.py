"""Latents for every sample, one cross-attention after the other, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, cross, transformer
from mmkit.fusions.tokens.iterative import IterativeFusion


def obvious(fusion: IterativeFusion, inputs: Inputs) -> Tensor:
    contexts = [linear(tokens) for linear, (tokens, _) in zip(fusion.project.values(), inputs, strict=True)]
    found = fusion.latents.values.expand(len(contexts[0]), -1, -1)
    for look, among in zip(fusion.look, fusion.among, strict=True):
        for layer, context, (_, mask) in zip(look.values(), contexts, inputs, strict=True):
            found = torch.where(mask.any(1)[:, None, None], cross(layer, found, context, mask), found)
        found = transformer(among, found, None)
    return fusion.norm(found).mean(1)
