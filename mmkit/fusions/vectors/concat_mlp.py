"""Concatenation of the inputs' vectors, each brought to one width and normed, then one hidden layer.

Tang et al., "AutoGluon-Multimodal (AutoMM): Supercharging Multimodal AutoML with Foundation Models", AutoML 2024,
https://arxiv.org/abs/2404.16233, whose default fusion it is. What differs: each input has a layer norm of its own,
where the source norms the join, through whose mean and deviation a missing input would speak; a missing input is zero
then, where the source feeds an empty image or text; and the common width is by default the fused one, where the source
takes that of the widest input, whose layer then has most of the parameters (590,000 for a text of 768 numbers).

Axes: B batch, M inputs, D an input's width, A the common width, H fused width.

    h_m = norm_m(W_m x_m + b_m)   [B A]
    y = dropout(leaky_relu(W [h_1; ...; h_M] + b))   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import complete, one_token, present

ACTIVATIONS = {"leaky_relu": nn.LeakyReLU, "relu": nn.ReLU, "gelu": nn.GELU, "none": nn.Identity}


class ConcatMlpFusion(nn.Module):
    """A hidden layer over the join of what each input was projected to.

    A missing input is a part of zeros in the join. Where all are missing, the result is that of the bias alone.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        inner: A, the width to which each input is brought; none takes `width`.
        activation: what follows the layer over the join; with "none" and without norms it is concatenation.
        norm: whether each input is normed.
        dropout: of the fused features, in training.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        inner: Annotated[int, Gt(0)] | None = None,
        activation: Literal["leaky_relu", "relu", "gelu", "none"] = "leaky_relu",
        norm: bool = True,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.inner = width if inner is None else inner
        self.project = nn.ModuleDict({name: nn.Linear(d, self.inner) for name, d in widths.items()})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(self.inner) for name in widths} if norm else {})
        self.mix = nn.Linear(len(widths) * self.inner, width)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        parts = [layer(features[name].vector()) for name, layer in self.project.items()]  # [B A] each
        if self.norm:
            parts = [layer(part) for layer, part in zip(self.norm.values(), parts, strict=True)]
        join = torch.cat(parts, 1)  # [B M*A]
        if not complete(features, self.project):
            there = present(features, self.project).unsqueeze(2)  # [B M 1]
            join = masked(join.unflatten(1, (-1, self.inner)), there).flatten(1)
        hidden = self.activation(self.mix(join))
        return one_token(self.dropout(hidden), features, self.project)
