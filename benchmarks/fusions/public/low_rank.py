"""The authors' code, three inputs; its subnetworks in front of the fusion are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.low_rank import LowRankFusion

REPOSITORY, FILE, INPUTS = "Justin1904/Low-rank-Multimodal-Fusion", "model.py", 3


def published(module: Any, fusion: LowRankFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    rank, width = fusion.rank, fusion.width
    sizes = [factor.shape[0] for factor in fusion.factors.values()]
    network = module.LMF(tuple(sizes), tuple(sizes), sizes[2], (0.0, 0.0, 0.0, 0.0), width, rank)
    network.audio_subnet = network.video_subnet = network.text_subnet = nn.Identity()
    into = (network.audio_factor, network.video_factor, network.text_factor)
    with torch.no_grad():
        for theirs, factor, constant in zip(into, fusion.factors.values(), fusion.constants.values(), strict=True):
            theirs[:, 1:] = factor.view(-1, rank, width).transpose(0, 1)  # theirs puts the constant first
            theirs[:, 0] = constant.view(rank, width)
        network.fusion_weights.copy_(fusion.mix.T)
        network.fusion_bias.copy_(fusion.bias.unsqueeze(0))
    return network, lambda vectors: network(*vectors)
