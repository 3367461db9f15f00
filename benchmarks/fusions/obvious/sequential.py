"""One input after the other, without a look at what is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.sequential import SequentialFusion

WHY = "where an input is missing the state before it is kept: one interpolation a step"


def obvious(fusion: SequentialFusion, vectors: list[Tensor]) -> Tensor:
    state = fusion.start.expand(len(vectors[0]), -1)
    for step, hidden in zip(fusion.step.values(), projected(fusion, vectors), strict=True):
        state = step(torch.cat([hidden.relu(), state], 1)).relu()
    return state
