"""The product of two linear layers, summed over groups, with a signed square root and length 1."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.mfb import MfbFusion

WHY = "a missing input is a factor of one: three operations on the bias of each"


def obvious(fusion: MfbFusion, vectors: list[Tensor]) -> Tensor:
    first, second = projected(fusion, vectors)
    pooled = (first * second).view(len(first), -1, fusion.factors).sum(2)
    return F.normalize(pooled.sign() * ((pooled.abs() + 1e-6).sqrt() - 1e-3), dim=1)
