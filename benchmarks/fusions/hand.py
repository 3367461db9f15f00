"""Parts of obvious forms that several of them share."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmkit.layers.attention import Attention, TransformerLayer
from mmkit.layers.cross import CrossLayer

Inputs = list[tuple[Tensor, Tensor]]  # tokens [B T D] and mask [B T] of each input


def projected(fusion: Any, vectors: list[Tensor]) -> list[Tensor]:
    return [layer(vector) for layer, vector in zip(fusion.apart, vectors, strict=True)]


def transformer(layer: TransformerLayer, tokens: Tensor, mask: Tensor | None) -> Tensor:
    normed = layer.before_attention(tokens)
    tokens = tokens + attention(layer.attention, normed, normed, mask)
    return tokens + layer.feed_forward(tokens)


def cross(layer: CrossLayer, tokens: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
    first, second = (1, 1) if layer.gates is None else layer.gates.tanh()
    seen = attention(layer.attention, layer.before_attention(tokens), layer.before_context(context), mask)
    tokens = tokens + first * seen
    return tokens + second * layer.feed_forward(tokens)


def attention(part: Attention, queries: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
    batch, length, width = queries.shape
    q = part.query(queries).view(batch, length, part.heads, -1).transpose(1, 2)
    k, v = (
        half.view(batch, context.shape[1], part.heads, -1).transpose(1, 2)
        for half in part.key_value(context).chunk(2, -1)
    )
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None])
    return part.out(seen.transpose(1, 2).reshape(batch, length, width))


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    return (tokens * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
