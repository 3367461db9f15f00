"""In evaluation the mean of one rectified layer for each input."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.embrace import EmbraceFusion

WHY = "the inputs that are there are counted, and each bias is masked"


def obvious(fusion: EmbraceFusion, vectors: list[Tensor]) -> Tensor:
    return torch.stack(projected(fusion, vectors)).relu().mean(0)
