"""A linear layer of the first vector, scaled and shifted by one of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.inner.film import FilmFusion

WHY = "the bias of the anchor is masked"


def obvious(fusion: FilmFusion, vectors: list[Tensor]) -> Tensor:
    first, *others = vectors
    gamma, beta = fusion.modulate(torch.cat(others, 1)).chunk(2, 1)
    return (1 + gamma) * projected(fusion, [first])[0] + beta
