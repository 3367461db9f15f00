"""The code of OGM-GE, which others have taken over, behind the projection of the anchor and without its last layer."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.inner.film import FilmFusion

REPOSITORY, FILE, INPUTS = "GeWu-Lab/OGM-GE_CVPR2022", "models/fusion_modules.py", 2
NOTE = "it scales by gamma and not by 1 + gamma: the 1 is in the bias of its gammas"


def published(module: Any, fusion: FilmFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    project = deepcopy(fusion.project[fusion.others.anchor])
    network = module.FiLM(fusion.modulate.in_features, fusion.width, 1)
    network.fc_out = nn.Identity()
    network.fc.load_state_dict(fusion.modulate.state_dict())
    with torch.no_grad():
        network.fc.bias[: fusion.width] += 1

    def form(vectors: list[Tensor]) -> Tensor:
        anchor, condition = vectors
        return network(condition, project(anchor))[2]

    return nn.ModuleList([project, network]), form
