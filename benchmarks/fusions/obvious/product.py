"""The product of one linear layer for each input."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.product import ProductFusion

WHY = "a missing input is a factor of one: three operations on the bias of each"


def obvious(fusion: ProductFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.mul, projected(fusion, vectors))
