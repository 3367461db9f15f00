"""Temperature scaling: the one temperature that is best on validation by log loss.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599. The log loss is
convex in 1 / T, so a golden section finds its least value.

Where all N answers are right it has none: the surer the better, without an end. There the truth counts as right with
probability (N + 1) / (N + 2) alone, the rule of succession, as in Platt, "Probabilistic Outputs for Support Vector
Machines and Comparisons to Regularized Likelihood Methods", Advances in Large Margin Classifiers, 1999.

Axes: N samples, C size of the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.contract import Batch
from mmkit.model.temperature import Temperature, logits

WIDEST = 20.0
"""The highest temperature that is tried; the lowest is its inverse."""
STEPS = 50
"""Of the golden section; the bracket then is 1e-10 of what it was."""


def fitted_temperature(predictions: Iterable[tuple[Batch, Batch]], kind: Literal["classes", "labels"]) -> Temperature:
    """The temperature for predictions of validation; 1 where no other is better.

    Where all answers are right, it is the best for a truth that is less than sure, see above, and at most 1.

    Args:
        predictions: with their truth, batch by batch.
        kind: of target.
    """
    scores, truths = [], []
    for prediction, truth in predictions:
        known = truth["mask"]
        scores.append(logits(prediction["probabilities"][known], kind).double())
        truths.append(truth["label" if kind == "classes" else "labels"][known])
    z, y = torch.cat(scores), torch.cat(truths)

    def loss(unsure: float, log_temperature: float) -> float:
        return float(_loss(z / math.exp(log_temperature), y, kind, unsure))

    low, high = -math.log(WIDEST), math.log(WIDEST)
    best = golden_section(partial(loss, 0.0), low, high)
    if best < low + 1e-3:
        best = golden_section(partial(loss, 1 / (y.numel() + 2)), low, high)
    return Temperature(kind, math.exp(best) if loss(0.0, best) < loss(0.0, 0.0) else 1.0)


def _loss(z: Tensor, y: Tensor, kind: str, unsure: float) -> Tensor:
    """The log loss where each answer of the truth is wrong with probability `unsure`."""
    if kind == "classes":
        classes = z.shape[1]
        return F.cross_entropy(z, y, label_smoothing=unsure * classes / max(classes - 1, 1))
    return F.binary_cross_entropy_with_logits(z, y.double().clamp(unsure, 1 - unsure))


def golden_section(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum between two numbers has it.

    Kiefer, "Sequential Minimax Search for a Maximum", Proceedings of the American Mathematical Society 1953.

    >>> round(golden_section(lambda x: (x - 2) ** 2, -9, 9), 6)
    2.0
    """
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return (low + high) / 2
