"""The maximum of one linear layer for each input."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.max import MaxFusion

WHY = "where all may be missing, masks are joined, and each bias gets its own infinity"


def obvious(fusion: MaxFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.maximum, projected(fusion, vectors))
