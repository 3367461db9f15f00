"""Linear layers, gated messages between them, and a linear layer over the join."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.gated_cross import GatedCrossFusion

WHY = "messages to and from missing inputs are masked"


def obvious(fusion: GatedCrossFusion, vectors: list[Tensor]) -> Tensor:
    seen = projected(fusion, vectors)
    if len(seen) == 1:
        return fusion.mix(seen[0])
    parts = []
    for m, name in enumerate(fusion.message):
        message = fusion.message[name](torch.cat(seen[:m] + seen[m + 1 :], 1))
        parts.append(seen[m] + fusion.gate[m].tanh() * message)
    return fusion.mix(torch.cat(parts, 1))
