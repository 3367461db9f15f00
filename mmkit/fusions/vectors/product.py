"""Elementwise product of one linear projection for each input.

Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, https://arxiv.org/abs/1610.04325. What differs:
any number of inputs, and neither the paper's tanh nor its output projection.

Axes: B batch, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.vectors import one_token, projected


class ProductFusion(nn.Module):
    """Each input has its own linear projection; the projections are multiplied elementwise.

    A missing input is a factor of one. Where all inputs are missing, the result is one.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        # The gradient of `prod` over a stack looks for zeros: slower.
        return one_token(reduce(torch.mul, projected(features, self.project, 1.0)), features, self.project)
