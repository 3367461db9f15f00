"""Multiplicative interaction: one input gives the weights that another is seen with.

Jayakumar et al., "Multiplicative Interactions and Where to Find Them", ICLR 2020,
https://openreview.net/forum?id=rylnK6VtDH. What differs: the diagonal forms go on to any number of inputs, one after
the other in the order of their names; the input that is seen is projected to the fused width first, which the paper
leaves to the layer before; and a factor is about 1 at the start, so that it lets through what it is not asked to
change. The default is the diagonal form, since the general one has as many weights as the widths multiplied: too many
for few samples.

Axes: B batch, D an input's width, H fused width.

    vector:  y_1 = W x_1;  y_m = (A_m x_m + a_m) * y_(m-1) + B_m x_m + b_m   [B H],   A_m, B_m [H D]
    scalar:  the same with A_m, B_m [1 D]: one factor, and one shift, for all features
    matrix:  y = x_1' T x_2 + U x_1 + V x_2 + b,   T [H D_1 D_2]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.vectors import Inputs, joined, one_token, outer


class MultiplicativeFusion(nn.Module):
    """A polynomial of the inputs' vectors, of one factor an input.

    A missing input is a vector of zeros, which leaves the terms of lower order: its factor is the constant one. For two
    inputs "vector" is feature-wise linear modulation without a bias of the anchor, and "matrix" tensor fusion.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        form: what the weights depend on: "vector", each feature has a factor and a shift; "scalar", all features have
            one; "matrix", every product of two numbers has a weight: for two inputs only.

    Raises:
        ValueError: "matrix" with any number of inputs but two.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        form: Literal["vector", "scalar", "matrix"] = "vector",
    ) -> None:
        super().__init__()
        if form == "matrix" and len(widths) != 2:
            raise ValueError(
                f"form=matrix is for two inputs; got {len(widths)} ({', '.join(widths)}): use form=vector, or the "
                "tensor or low-rank fusion"
            )
        self.width = width
        self.inputs = tuple(widths)
        self.terms = (
            Matrix(widths, width) if form == "matrix" else Diagonal(widths, width, 1 if form == "scalar" else width)
        )

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        return one_token(self.terms(features), features, self.inputs)


class Diagonal(nn.Module):
    """The first input's projection; each of the others gives it a factor and a shift.

    Args:
        widths: D of each input, by name.
        width: H.
        factors: of each input, H or 1.
    """

    def __init__(self, widths: Mapping[str, int], width: int, factors: int) -> None:
        super().__init__()
        self.anchor, *others = widths
        self.first = nn.Linear(widths[self.anchor], width, bias=False)
        layers = {name: nn.Linear(widths[name], 2 * factors) for name in others}
        for layer in layers.values():
            nn.init.ones_(layer.bias[:factors])
        self.others = nn.ModuleDict(layers)

    def forward(self, features: Inputs) -> Tensor:
        """[B H]."""
        found: Tensor = self.first(features[self.anchor].vector())
        for name, layer in self.others.items():
            factor, shift = layer(features[name].vector()).chunk(2, 1)  # [B H] each, or [B 1]
            found = torch.addcmul(shift, factor, found)
        return found


class Matrix(nn.Module):
    """All products of a number of one input with a number of the other, and the terms of lower order.

    Args:
        widths: D of each input, by name.
        width: H.
    """

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.inputs = tuple(widths)
        first, second = widths.values()
        self.product = nn.Linear(first * second, width, bias=False)
        self.lower = nn.Linear(first + second, width)

    def forward(self, features: Inputs) -> Tensor:
        """[B H]."""
        first, second = (features[name].vector() for name in self.inputs)
        lower = self.lower(joined(features, self.inputs))
        return torch.addmm(lower, outer(first, second), self.product.weight.t())
