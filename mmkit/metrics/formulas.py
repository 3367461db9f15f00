"""The formula of each metric, over all predictions of a split.

Axes: N samples (at least one), C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Measures = dict[str, Callable[[], float | None]]
"""Metrics by name, each computed when called; None if it is not defined."""


def of_numbers(prediction: Tensor, truth: Tensor) -> Measures:
    """Metrics of numbers, from values [N C] and true values [N C]."""
    truth = truth.double()
    error = prediction - truth
    return {
        "mae": lambda: float(error.abs().mean()),
        "rmse": lambda: float(error.square().mean(0).sqrt().mean()),
        "r2": lambda: _mean_of_columns(_r2, prediction, truth),
        "pearson": lambda: _mean_of_columns(_pearson, prediction, truth),
        "spearman": lambda: _mean_of_columns(_spearman, prediction, truth),
    }


def negative_log_likelihood(probabilities: Tensor, label: Tensor) -> Tensor:
    """[N]: minus the natural logarithm of the probability of the true class."""
    return _nll(probabilities.gather(1, label.unsqueeze(1)).squeeze(1))


def negative_log_likelihood_of_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    """[N]: minus the natural logarithm of the probability of the true value, averaged over the labels."""
    return _nll(torch.where(labels > 0, probabilities, 1 - probabilities)).mean(1)


def _nll(probability: Tensor) -> Tensor:
    # Bounded as in scikit-learn, so that a probability that was rounded to 0 gives no infinite loss.
    return -probability.double().clamp(min=torch.finfo(torch.float64).eps).log()


def of_counts(counts: Tensor) -> Measures:
    """Metrics from true and false positives, true and false negatives and support [C 5] of each class or label."""
    occurs = counts[:, 4] > 0
    recall, precision, f1 = rates(counts)
    tp, fp, _, fn, _ = counts.sum(0).tolist()
    return {
        "f1_macro": lambda: mean(f1[occurs]),
        "f1_micro": lambda: 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
        "precision_macro": lambda: mean(precision[occurs]),
        "recall_macro": lambda: mean(recall[occurs]),
    }


def rates(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Recall, precision and F1 [C] from counts [C 5]."""
    tp, fp, _, fn, _ = counts.unbind(-1)
    # Where a denominator is 0, tp is 0 as well: the clamp gives 0 there and changes no other value.
    return tp / (tp + fn).clamp(min=1), tp / (tp + fp).clamp(min=1), 2 * tp / (2 * tp + fp + fn).clamp(min=1)


def balanced(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> float | None:
    """The mean of sensitivity and specificity, over the labels whose truth has both values, from counts [C]."""
    both = (tp + fn > 0) & (tn + fp > 0)
    return mean(((tp / (tp + fn) + tn / (tn + fp)) / 2)[both])


def mean(values: Tensor) -> float | None:
    """The mean; None of no values."""
    return float(values.double().mean()) if values.numel() else None


def _mean_of_columns(measure: Callable[[Tensor, Tensor], float | None], x: Tensor, y: Tensor) -> float | None:
    values = [value for a, b in zip(x.T, y.T, strict=True) if (value := measure(a, b)) is not None]
    return sum(values) / len(values) if values else None


def _r2(prediction: Tensor, truth: Tensor) -> float | None:
    """1 - the squared error by the squared deviation of the truth [N] from its mean, both summed in float64.

    Not torchmetrics': it takes the deviation as a difference of two sums, which is not exact near 1 or at an offset.
    """
    if constant(truth):
        return None
    truth = truth.double()
    deviation = (truth - truth.mean()).square().sum()
    return 1 - float((prediction.double() - truth).square().sum() / deviation)


def _pearson(prediction: Tensor, truth: Tensor) -> float | None:
    if constant(prediction) or constant(truth):
        return None
    return float(np.corrcoef(_scaled(prediction), _scaled(truth))[0, 1])


def _scaled(values: Tensor) -> np.ndarray[Any, Any]:
    """Values [N] that are not all the same, less their mean and at most 1: their squares are 0 or infinite nowhere."""
    centred = values.double() - values.double().mean()
    return (centred / centred.abs().amax()).numpy()


def _spearman(prediction: Tensor, truth: Tensor) -> float | None:
    return _pearson(ranks(prediction), ranks(truth))


def ranks(values: Tensor) -> Tensor:
    """[N] ranks from 1; equal values share the mean of theirs."""
    _, group, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).double()[group]


def constant(values: Tensor) -> bool:
    """Whether all values are the same."""
    return bool(values.amax() == values.amin())
