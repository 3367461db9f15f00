"""A port of the authors' code, with our projections in front of it and our mean behind it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.gated_attention import GatedAttentionFusion
from mmkit.layers.cross import CrossLayer

REPOSITORY, FILE, INPUTS = "lucidrains/flamingo-pytorch", "flamingo_pytorch/flamingo_pytorch.py", 2
PADDED = False
NOTE = "it does not norm the context, so ours does not, either; it knows no padding, so there is none"


def published(module: Any, fusion: GatedAttentionFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    layers = nn.ModuleList()
    for ours in cast("list[CrossLayer]", list(fusion.layers)):
        ours.before_context = cast(nn.LayerNorm, nn.Identity())
        heads, hidden = ours.attention.heads, cast(nn.Linear, ours.feed_forward[1]).out_features
        layer = module.GatedCrossAttentionBlock(
            dim=fusion.width, dim_head=fusion.width // heads, heads=heads, ff_mult=hidden // fusion.width
        )
        look = layer.attn
        theirs = (look.norm, look.to_q, look.to_kv, look.to_out, layer.ff[0], layer.ff[1], layer.ff[3])
        own = (ours.before_attention, ours.attention.query, ours.attention.key_value, ours.attention.out)
        for one, other in zip(theirs, (*own, *(ours.feed_forward[i] for i in (0, 1, 4))), strict=True):
            one.load_state_dict(other.state_dict())
        with torch.no_grad():
            for gate, value in zip((layer.attn_gate, layer.ff_gate), cast(Tensor, ours.gates), strict=True):
                gate.fill_(value)
        layers.append(layer)
    apart = nn.ModuleList(deepcopy(list(fusion.project.values())))

    def form(inputs: Inputs) -> Tensor:
        tokens, *others = [linear(t) for linear, (t, _) in zip(apart, inputs, strict=True)]
        context = torch.cat(others, 1).unsqueeze(1)  # [B 1 S H], of one time
        for layer in layers:
            tokens = layer(tokens, context)
        return tokens.mean(1)

    return nn.ModuleList([apart, layers]), form
