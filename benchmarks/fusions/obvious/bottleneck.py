"""A transformer for each input, whose last tokens are averaged over those that are there, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, masked_mean, transformer
from mmkit.fusions.tokens.bottleneck import BottleneckFusion


def obvious(fusion: BottleneckFusion, inputs: Inputs) -> Tensor:
    tokens = [linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)]
    masks = [mask for _, mask in inputs]
    there = torch.stack([mask.any(1) for mask in masks]).float()  # [M B]
    weights = there / there.sum(0).clamp(min=1)
    shared = fusion.bottlenecks.values.expand(len(tokens[0]), -1, -1)
    seen = [torch.cat([mask, mask.new_ones(shared.shape[:2])], 1) for mask in masks]
    for layer in fusion.layers:
        both = [
            transformer(part, torch.cat([each, shared], 1), mask)
            for part, each, mask in zip(layer.values(), tokens, seen, strict=True)
        ]
        tokens = [each[:, : mask.shape[1]] for each, mask in zip(both, masks, strict=True)]
        carried = torch.stack([each[:, mask.shape[1] :] for each, mask in zip(both, masks, strict=True)])
        shared = torch.einsum("mb,mbnh->bnh", weights, carried)
    vectors = [masked_mean(fusion.norm(each), mask) for each, mask in zip(tokens, masks, strict=True)]
    return torch.einsum("mb,mbh->bh", weights, torch.stack(vectors))
