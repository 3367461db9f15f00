"""Gates from the joined vectors, one tanh layer for each input."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.gated import GatedFusion


def obvious(fusion: GatedFusion, vectors: list[Tensor]) -> Tensor:
    gates = fusion.gate(torch.cat(vectors, 1)).sigmoid().chunk(len(vectors), 1)
    return sum(gate * value.tanh() for gate, value in zip(gates, projected(fusion, vectors), strict=True))
