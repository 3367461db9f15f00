"""Late fusion: one prediction for each input, averaged with equal or learned weights.

Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881: the sum rule.
What differs: the rule for M classifiers subtracts M - 1 times the prior of a class, which changes nothing of the choice
where priors are equal; here the mean of the probabilities is taken as it is. Learned weights, labels and scalars are
not in the paper.

Axes: B batch, M inputs, C size of the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.layers.vectors import complete, one_token, present


class LateFusion(nn.Module):
    """Weighted mean over the heads of all inputs: of probabilities for classes and labels, of values for scalars.

    For classes the output is the logarithm of the mean probabilities, for labels their logit, so that softmax and
    sigmoid give the means back. A missing input has weight 0, and the weights of the others are renormalised. Where all
    inputs are missing, all classes are equally likely, every label has probability 0.5, and a scalar is zero.

    Args:
        widths: width of the output of each input, by name; all are C.
        target: what is predicted.
        weights: "equal", or "learned": one positive weight for each input, with sum 1.

    Raises:
        ValueError: the target is of a kind that has no such mean, or the outputs are not of its size.
    """

    def __init__(
        self, widths: Mapping[str, int], target: Target, *, weights: Literal["equal", "learned"] = "equal"
    ) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels", "scalar"}:
            raise ValueError(
                f"late fusion averages predictions of classes, labels or scalars; the target is {target.kind!r}: "
                f"take a fusion of features"
            )
        if any(size != target.size for size in widths.values()):
            raise ValueError(f"each output has the target's size, {target.size}; got {dict(widths)}")
        self.width = target.size
        self.inputs = tuple(widths)
        self.kind = target.kind
        equal = torch.zeros(len(widths))
        self.scores = nn.Parameter(equal) if weights == "learned" else None

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model."""
        outputs = torch.stack([features[name].vector() for name in self.inputs], 1)  # [B M C], zero where missing
        weights = self._weights(features, outputs)
        if self.kind == "scalar":
            fused = outputs.mean(1) if weights is None else (weights.exp() * outputs).sum(1)
        elif self.kind == "classes":
            fused = _log_mean(outputs.log_softmax(2), weights)
        else:  # the logit log(p) - log(1 - p) of the mean, each part as exact as the outputs are
            fused = _log_mean(F.logsigmoid(outputs), weights) - _log_mean(F.logsigmoid(-outputs), weights)
        return one_token(fused, features, self.inputs)

    def _weights(self, features: Mapping[str, Features], outputs: Tensor) -> Tensor | None:
        """[B M 1], or [1 M 1] where nothing is missing: logarithms of the weights of outputs [B M C]; None is equal."""
        if complete(features, self.inputs):
            return None if self.scores is None else self.scores.log_softmax(0).view(1, -1, 1)
        scores = outputs.new_zeros(len(self.inputs)) if self.scores is None else self.scores
        # exp(-1e4) is 0. Where all are missing the weights are equal, and the mean of zero outputs is what we promise.
        there = present(features, self.inputs)
        return scores.expand(there.shape).masked_fill(~there, -1e4).log_softmax(1).unsqueeze(-1)


def _log_mean(chances: Tensor, weights: Tensor | None) -> Tensor:
    """[B C], the logarithm of the mean of M probabilities, from their logarithms [B M C] and those of the weights."""
    if weights is None:
        return chances.logsumexp(1) - math.log(chances.shape[1])
    return (weights + chances).logsumexp(1)
