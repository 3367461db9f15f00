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
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.vectors import one_token


class TensorFusion(nn.Module):
    """A linear layer over the outer product of all vectors, each with a 1 at its end.

    The ones keep the terms of lower order: a missing input is the vector (0, ..., 0, 1), so that only the terms without
    it remain. The outer product has as many numbers as the product of all (width + 1), so large ones are refused.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        inner: width to which each input is projected first, without a bias; none takes the inputs as they are.
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
        sizes = [d if inner is None else inner for d in widths.values()]
        numbers = math.prod(size + 1 for size in sizes)
        parameters = (numbers + 1) * width + (0 if inner is None else inner * sum(widths.values()))
        if parameters > budget:
            shape = " x ".join(str(size + 1) for size in sizes)
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
        product = reduce(_outer, [F.pad(vector, (0, 1), value=1.0) for vector in vectors])  # [B P]
        return one_token(self.mix(product), features, self.inputs)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """[B N*K] of [B N] and [B K]: every number of one times every number of the other."""
    return (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)
