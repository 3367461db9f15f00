"""Tensor fusion: the outer product of the inputs' vectors, then one linear layer.

Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017, https://arxiv.org/abs/1707.07250.

Axes: B batch, D an input's width, H fused width, P numbers of the outer product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Annotated

from annotated_types import Gt
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.vectors import one_token, outer


class TensorFusion(nn.Module):
    """A linear layer over the outer product of all vectors, each with a 1 at its end.

    The ones keep the terms of lower order: a missing input is the vector (0, ..., 0, 1), so that only the terms without
    it remain. The outer product has as many numbers as the product of all (width + 1), so where inputs are wide they
    are projected to fewer numbers first, or refused.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        inner: width to which each input is projected first, without a bias; none takes the inputs as they are where
            that fits the budget, else it is `width`, or the greatest that fits, and recorded.
        budget: greatest number of parameters; a fusion that needs more is refused.

    Raises:
        ValueError: it would need more parameters than `budget`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        inner: Annotated[int, Gt(0)] | None = None,
        budget: Annotated[int, Gt(0)] = 50_000_000,
    ) -> None:
        super().__init__()
        self.chosen: dict[str, int] = {}
        """`inner`, where the inputs do not fit as they are and none was given."""
        if inner is None:
            inner = _inner(widths, width, budget)
            if inner is not None:
                self.chosen = {"inner": inner}
        sizes, parameters = _size(widths, width, inner)
        numbers = math.prod(sizes)
        if parameters > budget:
            shape = " x ".join(map(str, sizes))
            raise ValueError(
                f"tensor fusion of {len(widths)} inputs ({shape}) to width {width} needs {parameters:,} parameters, "
                f"more than its budget of {budget:,}: project the inputs to fewer numbers first with "
                f"`inner`, raise `budget`, or take the low-rank fusion"
            )
        self.width = width
        self.inputs = tuple(widths)
        self.project = (
            None if inner is None else nn.ModuleList(nn.Linear(d, inner, bias=False) for d in widths.values())
        )
        self.mix = nn.Linear(numbers, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        vectors = [features[name].vector() for name in self.inputs]
        if self.project is not None:
            vectors = [linear(vector) for linear, vector in zip(self.project, vectors, strict=True)]
        product = reduce(outer, [F.pad(vector, (0, 1), value=1.0) for vector in vectors])  # [B P]
        return one_token(self.mix(product), features, self.inputs)


def _size(widths: Mapping[str, int], width: int, inner: int | None) -> tuple[list[int], int]:
    """The length of each factor of the outer product, and the number of parameters."""
    sizes = [(d if inner is None else inner) + 1 for d in widths.values()]
    return sizes, (math.prod(sizes) + 1) * width + (0 if inner is None else inner * sum(widths.values()))


def _inner(widths: Mapping[str, int], width: int, budget: int) -> int | None:
    """None where the inputs fit as they are; else `width`, or the greatest that fits, or 1."""
    if _size(widths, width, None)[1] <= budget:
        return None
    return next((inner for inner in range(width, 1, -1) if _size(widths, width, inner)[1] <= budget), 1)
