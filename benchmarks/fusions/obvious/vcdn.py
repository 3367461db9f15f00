"""The network over the flattened outer product of the sigmoids, by one einsum a further input."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.outputs.vcdn import VcdnFusion

WHY = "a missing prediction is a constant"


def obvious(fusion: VcdnFusion, vectors: list[Tensor]) -> Tensor:
    first, *others = (vector.sigmoid() for vector in vectors)
    for other in others:
        first = torch.einsum("bi,bj->bij", first, other).flatten(1)
    return fusion.network(first)
