"""The code of OGM-GE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmkit.fusions.vectors.concat import ConcatFusion

REPOSITORY, FILE, INPUTS = "GeWu-Lab/OGM-GE_CVPR2022", "models/fusion_modules.py", 2


def published(module: Any, fusion: ConcatFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    network = module.ConcatFusion(fusion.mix.in_features, fusion.width)
    network.fc_out.load_state_dict(fusion.mix.state_dict())
    return network, lambda vectors: network(*vectors)[2]
