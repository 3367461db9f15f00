"""Weights of our layers of attention in layers of others."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mmkit.layers.attention import Attention, TransformerLayer


def encoder_layer(ours: TransformerLayer, *, batch_first: bool) -> nn.TransformerEncoderLayer:
    """PyTorch's own transformer layer, pre-norm and with GELU, with the weights of ours."""
    width, hidden = ours.attention.query.in_features, cast(nn.Linear, ours.feed_forward[1]).out_features
    layer = nn.TransformerEncoderLayer(
        width, ours.attention.heads, hidden, 0.0, "gelu", batch_first=batch_first, norm_first=True
    )
    weight, bias = in_projection(ours.attention)
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(weight)
        layer.self_attn.in_proj_bias.copy_(bias)
        layer.self_attn.out_proj.weight.copy_(ours.attention.out.weight)
        layer.self_attn.out_proj.bias.zero_()
    theirs = (layer.norm1, layer.norm2, layer.linear1, layer.linear2)
    for one, other in zip(theirs, (ours.before_attention, *(ours.feed_forward[i] for i in (0, 1, 4))), strict=True):
        one.load_state_dict(other.state_dict())
    return layer


def in_projection(ours: Attention) -> tuple[Tensor, Tensor]:
    """Weight [3D D] and bias [3D] of queries, keys and values, one after the other."""
    parts = (ours.query, ours.key_value)
    return torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
