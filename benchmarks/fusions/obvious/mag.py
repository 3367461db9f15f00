"""The shift and its bound, without a look at what is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.mag import MagFusion

WHY = "the biases of the others are masked, and the bound of a missing anchor is lifted"


def obvious(fusion: MagFusion, vectors: list[Tensor]) -> Tensor:
    anchor, *values = projected(fusion, vectors)
    shift = sum(
        gate(torch.cat([vector, anchor], 1)).relu() * value
        for gate, vector, value in zip(fusion.gate.values(), vectors[1:], values, strict=True)
    )
    share = (fusion.limit * anchor.norm(dim=1, keepdim=True) / (shift.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
    return fusion.norm(anchor + share * shift)
