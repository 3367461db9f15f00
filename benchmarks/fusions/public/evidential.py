"""The authors' code of Dempster's rule, over the outputs of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.fusions.both.evidential import EvidentialFusion

REPOSITORY, FILE, INPUTS = "hanmenghan/TMC", "TMC ICLR/model.py", 2
NOTE = "it builds all products of two classes, [B C C], of which only the sum and the diagonal are read"


def published(
    module: Any, fusion: EvidentialFusion
) -> tuple[nn.Module, Callable[[list[Tensor], list[Tensor]], Tensor]]:
    network = module.TMC(fusion.width, 0, [])

    def form(_: list[Tensor], outputs: list[Tensor]) -> Tensor:
        return network.DS_Combin({m: F.softplus(output) + 1 for m, output in enumerate(outputs)}).log()

    return network, form
