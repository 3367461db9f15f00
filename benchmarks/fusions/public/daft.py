"""The authors' code of the transform, without the block of convolutions around it, and our last layer behind it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.inner.daft import DaftFusion

REPOSITORY, FILE, INPUTS = "ai-med/DAFT", "daft/networks/vol_blocks.py", 2
NOTE = (
    "it scales by gamma and not by 1 + gamma: its last layer gets a bias, which is that 1; behind the encoders is one "
    "place, so its mean over places is left out"
)


def published(module: Any, fusion: DaftFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    narrow, width = fusion.excite.in_features, fusion.mix.in_features
    network = module.DAFTBlock(
        width, 1, ndim_non_img=fusion.squeeze.in_features - width, location=0, bottleneck_dim=narrow
    )
    network.global_pool = nn.Identity()
    network.aux.aux_base.load_state_dict(fusion.squeeze.state_dict())
    network.aux.aux_out = nn.Linear(narrow, 2 * width)
    with torch.no_grad():
        network.aux.aux_out.weight.copy_(fusion.excite.weight)
        network.aux.aux_out.bias.zero_()[:width] += 1
    mix = deepcopy(fusion.mix)

    def form(vectors: list[Tensor]) -> Tensor:
        anchor, other = vectors
        return mix(network.rescale_features(anchor[:, :, None, None, None], other).flatten(1))

    return nn.ModuleList([network.aux, mix]), form
