"""The authors' code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.block import BlockFusion

REPOSITORY, FILE, INPUTS = "Cadene/block.bootstrap.pytorch", "block/models/networks/fusions/fusions.py", 2
NOTE = (
    "its root is sqrt(relu(z)) - sqrt(relu(-z)), whose gradient at zero is not finite; ours has a finite slope there, "
    "and is off by .001 at most"
)
AGREE = 0.05
GRADIENTS_AGREE = False


def published(module: Any, fusion: BlockFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    widths = [linear.in_features for linear in fusion.project.values()]
    inner = fusion.mix.in_features
    network = module.Block(widths, fusion.width, mm_dim=inner, chunks=fusion.chunks, rank=fusion.rank)
    for theirs, ours in zip((network.linear0, network.linear1), fusion.project.values(), strict=True):
        theirs.load_state_dict(ours.state_dict())
    network.linear_out.load_state_dict(fusion.mix.state_dict())
    with torch.no_grad():
        merged = (network.merge_linears0, network.merge_linears1)
        for layers, factors in zip(merged, fusion.factors.values(), strict=True):
            for layer, factor in zip(layers, factors, strict=True):  # a chunk each, its constant last
                layer.weight.copy_(factor[:-1].T)
                layer.bias.copy_(factor[-1])
    return network, network
