"""Queries for every sample, each layer by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, attention
from mmkit.fusions.tokens.query import QueryFusion


def obvious(fusion: QueryFusion, inputs: Inputs) -> Tensor:
    tokens = torch.cat([linear(t) for linear, (t, _) in zip(fusion.project.values(), inputs, strict=True)], 1)
    mask = torch.cat([mask for _, mask in inputs], 1)
    found = fusion.queries.values.expand(len(tokens), -1, -1)
    for layer in fusion.layers:
        normed = layer.before_attention(found)
        found = found + attention(layer.attention, normed, normed, None)
        if layer.looks:
            found = found + attention(layer.cross, layer.before_cross(found), layer.before_context(tokens), mask)
        found = found + layer.feed_forward(found)
    return fusion.norm(found).mean(1)
