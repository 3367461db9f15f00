"""Logarithmic pool: the product of the probabilities that each input gives, which is the sum of their logits.

Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881: the product
rule. Genest and Zidek, "Combining Probability Distributions", Statistical Science 1986,
https://doi.org/10.1214/ss/1177013825: the weighted form, the geometric mean. What differs from Kittler: the rule for M
classifiers divides by the prior of a class to the power of M - 1; here the prior stays in each factor, and what trains
the heads through the fused loss may take it out of them. Labels and scalars are not in these papers.

Late fusion takes the arithmetic mean. Here an input that is sure that a class is wrong is not outvoted.

Axes: B batch, M inputs, C size of the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.layers.vectors import complete, one_token, present


class LogPoolFusion(nn.Module):
    """Weighted sum of the logits of all inputs' heads for classes and labels, weighted mean of values for scalars.

    The softmax or sigmoid of the output is the product of the inputs' probabilities, each to the power of its weight,
    normalised. A missing input is no factor. Where all inputs are missing, all classes are equally likely, every label
    has probability 0.5, and a scalar is zero.

    Args:
        widths: width of the output of each input, by name; all are C.
        target: what is predicted.
        weights: "sum", 1 for each input; "mean", 1 divided by the number of inputs that are there: the geometric mean;
            or "learned", one positive weight for each input, 1 at the start. Of scalars the first two are the mean.

    Raises:
        ValueError: the target is of a kind that has no such pool, or the outputs are not of its size.
    """

    def __init__(
        self, widths: Mapping[str, int], target: Target, *, weights: Literal["sum", "mean", "learned"] = "sum"
    ) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels", "scalar"}:
            raise ValueError(
                f"log-pool multiplies predictions of classes or labels, or averages scalars; the target is "
                f"{target.kind!r}: take a fusion of features"
            )
        if any(size != target.size for size in widths.values()):
            raise ValueError(f"each output has the target's size, {target.size}; got {dict(widths)}")
        self.width = target.size
        self.inputs = tuple(widths)
        self.mean = weights == "mean" or target.kind == "scalar"
        one = torch.full((len(widths),), math.log(math.e - 1))  # softplus gives 1
        self.scores = nn.Parameter(one) if weights == "learned" else None

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model."""
        outputs = [features[name].vector() for name in self.inputs]  # [B C] each, zero where missing, so no factor
        weights = None if self.scores is None else F.softplus(self.scores)  # [M]
        if weights is not None:
            outputs = [weight * output for weight, output in zip(weights.unbind(), outputs, strict=True)]
        fused = reduce(torch.add, outputs)
        if self.mean:
            fused = fused / self._total(features, weights)
        return one_token(fused, features, self.inputs)

    def _total(self, features: Mapping[str, Features], weights: Tensor | None) -> Tensor | float:
        """The sum of the weights of the inputs that are there: a number where none is missing, else [B 1]."""
        if complete(features, self.inputs):
            return float(len(self.inputs)) if weights is None else weights.sum()
        there = present(features, self.inputs)  # [B M]
        total = there.sum(1, keepdim=True) if weights is None else (there * weights).sum(1, keepdim=True)
        return total.where(there.any(1, keepdim=True), 1)
