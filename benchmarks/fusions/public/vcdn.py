"""The authors' code, over the outputs of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from mmkit.fusions.outputs.vcdn import VcdnFusion

REPOSITORY, FILE, INPUTS = "txWang/MOGONET", "models.py", 2


def published(module: Any, fusion: VcdnFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    network = module.VCDN(len(fusion.inputs), fusion.width, cast(nn.Linear, fusion.network[0]).out_features)
    network.model.load_state_dict(fusion.network.state_dict())
    return network, lambda outputs: network(list(outputs))  # it writes into its list
