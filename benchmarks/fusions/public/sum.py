"""The code of OGM-GE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.sum import SumFusion

REPOSITORY, FILE, INPUTS = "GeWu-Lab/OGM-GE_CVPR2022", "models/fusion_modules.py", 2


def published(module: Any, fusion: SumFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    network = module.SumFusion(fusion.project.widths[0], fusion.width)
    with torch.no_grad():
        for layer, name in zip((network.fc_x, network.fc_y), fusion.project.inputs, strict=True):
            weight, bias = fusion.project.of(name)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return network, lambda vectors: network(*vectors)[2]
