"""The sum of one linear layer for each input."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.sum import SumFusion

WHY = "masks are joined, and multiplied with the biases"


def obvious(fusion: SumFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.add, projected(fusion, vectors))
