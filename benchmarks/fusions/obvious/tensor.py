"""The outer product of the vectors, each after a one, by einsum."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.vectors.tensor import TensorFusion

OPTIONS = {"inner": 32}


def obvious(fusion: TensorFusion, vectors: list[Tensor]) -> Tensor:
    seen = [linear(vector) for linear, vector in zip(fusion.project, vectors, strict=True)]
    longer = [torch.cat([vector, vector.new_ones(len(vector), 1)], 1) for vector in seen]
    axes = "ijk"[: len(longer)]
    outer = torch.einsum(",".join(f"b{axis}" for axis in axes) + f"->b{axes}", *longer)
    return fusion.mix(outer.flatten(1))
