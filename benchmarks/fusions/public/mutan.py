"""The authors' code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmkit.fusions.vectors.mutan import MutanFusion

REPOSITORY, FILE, INPUTS = "Cadene/block.bootstrap.pytorch", "block/models/networks/fusions/fusions.py", 2


def published(module: Any, fusion: MutanFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    widths = [linear.in_features for linear in fusion.project.values()]
    network = module.Mutan(widths, fusion.width, mm_dim=fusion.mix.in_features, rank=fusion.rank)
    pairs = (
        *zip((network.linear0, network.linear1), fusion.project.values(), strict=True),
        *zip((network.merge_linear0, network.merge_linear1), fusion.factors.values(), strict=True),
        (network.linear_out, fusion.mix),
    )
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    return network, network
