"""A port of DeepMind's code: its encoder, with our projections in front of it and our norm and mean behind it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.perceiver import PerceiverFusion
from mmkit.layers.attention import Attention, TransformerLayer

REPOSITORY, FILE, INPUTS = "krasserm/perceiver-io", "perceiver/model/core/modules.py", 2
IMPORTS_FROM = "."
STANDS_IN = {"fairscale.nn": {"checkpoint_wrapper": None}}


def published(module: Any, fusion: PerceiverFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    given: Any = nn.Identity()
    given.num_input_channels = fusion.width
    layers = cast("list[TransformerLayer]", list(fusion.layers))
    widening = cast(nn.Linear, fusion.look.feed_forward[1]).out_features // fusion.width
    encoder = module.PerceiverEncoder(
        given,
        len(fusion.latents.values),
        fusion.width,
        num_cross_attention_heads=fusion.look.attention.heads,
        cross_attention_widening_factor=widening,
        num_self_attention_heads=layers[0].attention.heads,
        num_self_attention_layers_per_block=len(layers),
        self_attention_widening_factor=widening,
    )
    with torch.no_grad():
        encoder.latent_provider._query.copy_(fusion.latents.values)  # noqa: SLF001
    look, network = (part.module for part in encoder.cross_attn_1)
    look.q_norm.load_state_dict(fusion.look.before_attention.state_dict())
    look.kv_norm.load_state_dict(fusion.look.before_context.state_dict())
    _attention(look.attention, fusion.look.attention)
    _network(network, fusion.look.feed_forward)
    for theirs, ours in zip(encoder.self_attn_1, layers, strict=True):
        look, network = (part.module for part in theirs)
        look.norm.load_state_dict(ours.before_attention.state_dict())
        _attention(look.attention, ours.attention)
        _network(network, ours.feed_forward)
    apart, norm = deepcopy(list(fusion.project.values())), deepcopy(fusion.norm)

    def form(inputs: Inputs) -> Tensor:
        tokens = torch.cat([linear(t) for linear, (t, _) in zip(apart, inputs, strict=True)], 1)
        return norm(encoder(tokens, ~torch.cat([mask for _, mask in inputs], 1))).mean(1)

    return nn.ModuleList([*apart, encoder, norm]), form


def _attention(theirs: Any, ours: Attention) -> None:
    theirs.q_proj.load_state_dict(ours.query.state_dict())
    with torch.no_grad():
        for layer, part in zip((theirs.k_proj, theirs.v_proj), range(2), strict=True):
            layer.weight.copy_(ours.key_value.weight.chunk(2)[part])
            layer.bias.copy_(ours.key_value.bias.chunk(2)[part])
        theirs.o_proj.weight.copy_(ours.out.weight)
        theirs.o_proj.bias.zero_()


def _network(theirs: Any, ours: nn.Sequential) -> None:
    for layer, place in zip(theirs, (0, 1, 2, 4), strict=True):
        layer.load_state_dict(ours[place].state_dict())
