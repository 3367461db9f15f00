"""Every input looks at the joined others, then at itself, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, cross, masked_mean, transformer
from mmkit.fusions.tokens.co_attention import CoAttentionFusion


def obvious(fusion: CoAttentionFusion, inputs: Inputs) -> Tensor:
    tokens = [linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)]
    masks = [mask for _, mask in inputs]
    count = range(len(tokens))
    for look, within in zip(fusion.cross, fusion.within, strict=True):
        old = tokens
        tokens = []
        for m, (layer, among) in enumerate(zip(look.values(), within.values(), strict=True)):
            context = torch.cat([old[j] for j in count if j != m], 1)
            mask = torch.cat([masks[j] for j in count if j != m], 1)
            tokens.append(transformer(among, cross(layer, old[m], context, mask), masks[m]))
    there = torch.stack([mask.any(1) for mask in masks]).float()  # [M B]
    vectors = torch.stack([masked_mean(fusion.norm(t), mask) for t, mask in zip(tokens, masks, strict=True)])
    return torch.einsum("mb,mbh->bh", there / there.sum(0).clamp(min=1), vectors)
