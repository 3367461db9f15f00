"""PyTorch's own transformer layer, over the joined tokens; its fast path is open where no gradient is asked for."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs, masked_mean
from benchmarks.fusions.public.weights import encoder_layer
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.layers.attention import TransformerLayer

REPOSITORY, FILE, INPUTS = "pytorch/pytorch", None, 2


def published(_: Any, fusion: AttentionFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    layers = nn.ModuleList(encoder_layer(cast(TransformerLayer, layer), batch_first=True) for layer in fusion.layers)
    apart, norm = deepcopy(list(fusion.project.values())), deepcopy(fusion.norm)

    def form(inputs: Inputs) -> Tensor:
        tokens = torch.cat([linear(t) for linear, (t, _) in zip(apart, inputs, strict=True)], 1)
        mask = torch.cat([mask for _, mask in inputs], 1)
        for layer in layers:
            tokens = layer(tokens, src_key_padding_mask=~mask)
        return masked_mean(norm(tokens), mask)

    return nn.ModuleList([*apart, *layers, norm]), form
