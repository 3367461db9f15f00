"""The authors' crossmodal transformers, with our projections in front of them, and joined and read as ours are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs
from benchmarks.fusions.public.weights import in_projection
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion, Stream
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.cross import CrossLayer

REPOSITORY, FILE, INPUTS = "yaohungt/Multimodal-Transformer", "modules/transformer.py", 2
IMPORTS_FROM = "."
PADDED = False
NOTE = (
    "without its positions and the norm at the end of its crossmodal transformers; both with ReLU, and with twice the "
    "width in feed-forward networks, where it has four times; queries and context share a norm there, so that of our "
    "context is in its keys and values; it knows no padding, so there is none"
)


def published(module: Any, fusion: CrossAttentionFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    names = list(fusion.project)
    for layer in fusion.modules():
        if isinstance(layer, CrossLayer | TransformerLayer):
            layer.feed_forward[2] = nn.ReLU()
    apart, joins = (nn.ModuleDict(deepcopy(dict(part.items()))) for part in (fusion.project, fusion.join))
    with torch.no_grad():
        for linear in (*apart.values(), *joins.values()):
            for parameter in linear.parameters():
                parameter.div_(fusion.width**0.5)  # by which it multiplies what it is given
    across = [_encoder(module, cast("Sequence[CrossLayer]", cast(Stream, stream).layers)) for stream in fusion.cross]
    within = {
        name: _encoder(module, [cast(TransformerLayer, fusion.within[name])], fusion.norm[name]) for name in names
    }
    mix = deepcopy(fusion.mix)

    def form(inputs: Inputs) -> Tensor:
        tokens = {name: apart[name](t).transpose(0, 1) for name, (t, _) in zip(names, inputs, strict=True)}  # [T B H]
        streams: dict[str, list[Tensor]] = {name: [] for name in names}
        for (name, other), look in zip(fusion.pairs, across, strict=True):
            streams[name].append(look(tokens[name], tokens[other], tokens[other]))
        seen = [within[name](joins[name](torch.cat(streams[name], 2))).mean(0) for name in names]
        return mix(torch.cat(seen, 1))

    return nn.ModuleList([apart, joins, *across, *within.values(), mix]), form


def _encoder(module: Any, layers: Sequence[CrossLayer | TransformerLayer], norm: nn.Module | None = None) -> Any:
    """Theirs, of the weights of these layers, with a norm at the end or none."""
    width, heads = layers[0].attention.query.in_features, layers[0].attention.heads
    network = module.TransformerEncoder(width, heads, len(layers))
    network.embed_positions, network.normalize = None, norm is not None
    if norm is not None:
        network.layer_norm.load_state_dict(norm.state_dict())
    for theirs, ours in zip(network.layers, layers, strict=True):
        _, first, _, _, second = ours.feed_forward
        theirs.fc1, theirs.fc2 = deepcopy(first), deepcopy(second)
        for layer, part in zip(theirs.layer_norms, (ours.before_attention, ours.feed_forward[0]), strict=True):
            layer.load_state_dict(part.state_dict())
        weight, bias = in_projection(ours.attention)
        with torch.no_grad():
            if isinstance(ours, CrossLayer):
                before, context = ours.before_attention, ours.before_context
                folded = weight[width:] * (context.weight / before.weight)
                bias[width:] += weight[width:] @ context.bias - folded @ before.bias
                weight[width:] = folded
            theirs.self_attn.in_proj_weight.copy_(weight)
            theirs.self_attn.in_proj_bias.copy_(bias)
            theirs.self_attn.out_proj.weight.copy_(ours.attention.out.weight)
            theirs.self_attn.out_proj.bias.zero_()
    return network
