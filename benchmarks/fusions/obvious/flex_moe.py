"""Stacked vectors through PyTorch's attention, and all experts, one after the other, by the two greatest scores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import attention, projected, transformer
from mmkit.fusions.vectors.flex_moe import ExpertLayer, FlexMoeFusion


def obvious(fusion: FlexMoeFusion, vectors: list[Tensor]) -> Tensor:
    tokens = torch.stack(projected(fusion, vectors), 1)
    for layer in fusion.layers:
        tokens = experts(layer, tokens) if isinstance(layer, ExpertLayer) else transformer(layer, tokens, None)
    return fusion.mix(fusion.norm(tokens).flatten(1))


def experts(layer: ExpertLayer, tokens: Tensor) -> Tensor:
    normed = layer.before_attention(tokens)
    tokens = tokens + attention(layer.attention, normed, normed, None)
    normed = layer.before_experts(tokens)
    best, places = layer.route(normed).topk(layer.top, 2)
    count = layer.experts.count
    gates = torch.zeros(*normed.shape[:2], count, device=normed.device, dtype=normed.dtype)
    gates = gates.scatter(2, places, best.softmax(2))
    first = zip(*(p.chunk(count) for p in layer.experts.hidden.parameters()), strict=True)
    second = zip(layer.experts.weight.chunk(count, 1), layer.experts.bias, strict=True)
    outputs = [F.linear(F.gelu(F.linear(normed, *one)), *other) for one, other in zip(first, second, strict=True)]
    return tokens + (gates.unsqueeze(3) * torch.stack(outputs, 2)).sum(2)
