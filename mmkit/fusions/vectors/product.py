"""Elementwise product of one linear projection for each input.

Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, https://arxiv.org/abs/1610.04325. What differs:
any number of inputs, and by default neither the paper's tanh nor its output projection. With both, and two inputs, it
is the paper's low-rank bilinear pooling (MLB): `product:activation=tanh,output=true`.

Axes: B batch, D an input's width, H fused width.

    y = prod_m f(W_m x_m + b_m)   [B H],   or W of it + b
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import one_token, projected, there


class ProductFusion(nn.Module):
    """Each input has its own linear projection; the projections are multiplied elementwise.

    A missing input is a factor of one. Where all inputs are missing, all factors are.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        activation: what follows each projection; the paper's is "tanh".
        output: whether a linear layer follows the product.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        activation: Literal["none", "tanh"] = "none",
        output: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.tanh = activation == "tanh"
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.output = nn.Linear(width, width) if output else nn.Identity()

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        factors = projected(features, self.project, 1.0)
        if self.tanh:
            factors = [
                factor.tanh() if features[name].complete else masked(factor.tanh(), there(features[name]), 1.0)
                for name, factor in zip(self.project, factors, strict=True)
            ]
        # The gradient of `prod` over a stack looks for zeros: slower.
        return one_token(self.output(reduce(torch.mul, factors)), features, self.project)
