"""The sum over the inputs of their logits times the logsumexp of the centred ones."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from mmkit.fusions.outputs.energy import EnergyFusion


def obvious(fusion: EnergyFusion, vectors: list[Tensor]) -> Tensor:
    told = [fusion.scale * (o - o.mean(1, keepdim=True)).logsumexp(1, keepdim=True) for o in vectors]
    return reduce(torch.add, [w.detach() * o for w, o in zip(told, vectors, strict=True)])
