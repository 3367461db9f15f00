"""Two linear layers an input, the sum over ranks of their products, and a linear layer."""

from __future__ import annotations

from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.mutan import MutanFusion

WHY = "a missing input is a factor of one, in each rank"


def obvious(fusion: MutanFusion, vectors: list[Tensor]) -> Tensor:
    first, second = (
        layer(seen) for layer, seen in zip(fusion.factors.values(), projected(fusion, vectors), strict=True)
    )
    return fusion.mix((first * second).view(len(first), fusion.rank, -1).sum(1))
