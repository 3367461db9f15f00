"""PyTorch's own transformer layer, over the joined tokens; its fast path is open where no gradient is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs, masked_mean
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.layers.attention import TransformerLayer

REPOSITORY, FILE, INPUTS = "pytorch/pytorch", None, 2


def published(module: Any, fusion: AttentionFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    width = fusion.width
    layers = nn.ModuleList()
    for part in fusion.layers:
        ours = cast(TransformerLayer, part)
        hidden = cast(nn.Linear, ours.feed_forward[1])
        layer = module.TransformerEncoderLayer(
            width, ours.attention.heads, hidden.out_features, 0.0, "gelu", batch_first=True, norm_first=True
        )
        attention = ours.attention
        with torch.no_grad():
            layer.self_attn.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
            layer.self_attn.in_proj_bias.copy_(torch.cat([attention.query.bias, attention.key_value.bias]))
            layer.self_attn.out_proj.weight.copy_(attention.out.weight)
            layer.self_attn.out_proj.bias.zero_()
        theirs = (layer.norm1, layer.norm2, layer.linear1, layer.linear2)
        for one, other in zip(theirs, (ours.before_attention, *(ours.feed_forward[i] for i in (0, 1, 4))), strict=True):
            one.load_state_dict(other.state_dict())
        layers.append(layer)
    apart = [nn.Linear(linear.in_features, width) for linear in fusion.project.values()]
    for linear, ours in zip(apart, fusion.project.values(), strict=True):
        linear.load_state_dict(ours.state_dict())
    norm = nn.LayerNorm(width)
    norm.load_state_dict(fusion.norm.state_dict())

    def form(inputs: Inputs) -> Tensor:
        tokens = torch.cat([linear(t) for linear, (t, _) in zip(apart, inputs, strict=True)], 1)
        mask = torch.cat([mask for _, mask in inputs], 1)
        for layer in layers:
            tokens = layer(tokens, src_key_padding_mask=~mask)
        return masked_mean(norm(tokens), mask)

    return nn.ModuleList([*apart, *layers, norm]), form
