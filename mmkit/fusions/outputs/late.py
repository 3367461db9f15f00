"""Late fusion: one prediction for each input, averaged with equal or learned weights.

Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881: the sum rule.
What differs: the rule for M classifiers subtracts M - 1 times the prior of a class, which changes nothing of the choice
where priors are equal; here the mean of the probabilities is taken as it is. Learned weights, labels and scalars are
not in the paper.

Axes: B batch, M inputs, C size of the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
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
        outputs = [features[name].vector() for name in self.inputs]  # [B C] each, zero where missing
        weights = self._weights(features, outputs)
        if self.kind == "scalar":
            if weights is None:
                fused = reduce(torch.add, outputs) / len(outputs)
            else:
                fused = reduce(torch.add, [w.exp() * value for w, value in zip(weights, outputs, strict=True)])
        elif self.kind == "classes":
            fused = _log_mean([value.log_softmax(1) for value in outputs], weights)
        else:  # the logit log(p) - log(1 - p) of the mean, each part as exact as the outputs are
            yes = _log_mean([F.logsigmoid(value) for value in outputs], weights)
            fused = yes - _log_mean([F.logsigmoid(-value) for value in outputs], weights)
        return one_token(fused, features, self.inputs)

    def _weights(self, features: Mapping[str, Features], outputs: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """The logarithm of each input's weight, [B 1], or [1] where nothing is missing; None is equal weights."""
        if complete(features, self.inputs):
            return None if self.scores is None else self.scores.log_softmax(0).split(1)
        # exp(-1e4) is 0. Where all are missing the weights are equal, and the mean of zero outputs is what we promise.
        scores = outputs[0].new_zeros(()) if self.scores is None else self.scores
        return torch.where(present(features, self.inputs), scores, -1e4).log_softmax(1).split(1, 1)


def _log_mean(chances: Sequence[Tensor], weights: Sequence[Tensor] | None) -> Tensor:
    """[B C], the logarithm of the mean of M probabilities, from their logarithms and those of the weights.

    A chain of `logaddexp` reads each once; `logsumexp` of a stack is five passes over it.
    """
    if weights is None:
        return reduce(torch.logaddexp, chances) - math.log(len(chances))
    return reduce(torch.logaddexp, [one + weight for one, weight in zip(chances, weights, strict=True)])
