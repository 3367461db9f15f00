"""In evaluation the mean of one layer for each input by its precision, the prior among them."""

from __future__ import annotations

from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.product_of_experts import ProductOfExpertsFusion

WHY = "precisions are bounded, and masked"


def obvious(fusion: ProductOfExpertsFusion, vectors: list[Tensor]) -> Tensor:
    total, weighted = 1.0, 0.0
    for found in projected(fusion, vectors):
        mean, spread = found.chunk(2, 1)
        precision = (-spread.clamp(-10, 10)).exp()
        total = total + precision
        weighted = weighted + precision * mean
    return weighted / total
