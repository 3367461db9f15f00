"""MultiBench's outer product, with one linear layer behind it, as its examples have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.fusions.vectors.tensor import TensorFusion

REPOSITORY, FILE, INPUTS = "pliang279/MultiBench", "fusions/common_fusions.py", 2
OPTIONS = {"inner": 32}


def published(module: Any, fusion: TensorFusion) -> tuple[nn.Module, Callable[[list[Tensor]], Tensor]]:
    narrow = [nn.Linear(linear.in_features, linear.out_features, bias=False) for linear in fusion.project]
    size = narrow[0].out_features + 1
    mix = nn.Linear(size**2, fusion.width)
    outer = module.TensorFusion()
    order = torch.arange(size).roll(1)  # theirs puts the constant first
    places = (order[:, None] * size + order).flatten()
    with torch.no_grad():
        for theirs, ours in zip(narrow, fusion.project, strict=True):
            theirs.weight.copy_(ours.weight)
        mix.weight.copy_(fusion.mix.weight[:, places])
        mix.bias.copy_(fusion.mix.bias)

    def form(vectors: list[Tensor]) -> Tensor:
        return mix(outer([linear(vector) for linear, vector in zip(narrow, vectors, strict=True)]))

    return nn.ModuleList([*narrow, mix]), form
