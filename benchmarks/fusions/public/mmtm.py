"""The code that the authors of the paper name, behind the encoders, with one linear layer over both results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.fusions.inner.mmtm import MmtmFusion, Transfer

REPOSITORY, FILE, INPUTS = "haamoon/mmtm", "mmtm.py", 2
STANDS_IN = {"models.auxiliary.resnet.resnet": {"transform_input": None}}
NOTE = (
    "its gates go to 1, and a layer that starts does not change; the paper's, and ours, go to 2: the layer is doubled"
)


def published(module: Any, fusion: MmtmFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    transfer = cast(Transfer, fusion.transfers["1"])
    first, second = (cast(nn.Linear, gate).out_features for gate in transfer.gates.values())
    module.init_weights = id  # its own prints
    network = module.MMTM(first, second, 2 * (first + second) / transfer.squeeze.out_features)
    mix = nn.Linear(first + second, fusion.width)
    pairs = zip(
        (network.fc_squeeze, network.fc_visual, network.fc_skeleton),
        (transfer.squeeze, *transfer.gates.values()),
        strict=True,
    )
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        mix.weight.copy_(2 * fusion.join.mix.weight)
        mix.bias.copy_(fusion.join.mix.bias)
    return nn.ModuleList([network, mix]), lambda vectors: mix(torch.cat(network(*vectors), 1))
