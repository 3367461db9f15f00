"""How honest probabilities are: the log loss, and the expected calibration error.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599: in 15 bins of equal
width, how sure a model was differs from how often it was right, on average over samples. For labels each label of a
sample counts as one answer, and its probability is compared with how often it applies.

Axes: N samples, C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.contract import Batch
from mmkit.metrics.formulas import negative_log_likelihood, negative_log_likelihood_of_labels

BINS = 15


class Calibration(NamedTuple):
    """Log loss and expected calibration error of a split."""

    log_loss: float
    ece: float


def calibration(
    predictions: Iterable[tuple[Batch, Batch]], kind: str, changes: Iterable[Callable[[Batch], Batch] | None]
) -> list[Calibration]:
    """The calibration of predictions, changed in each of several ways. Samples without truth are left out.

    Args:
        predictions: of a split with its truth, batch by batch; at least one sample has truth.
        kind: "classes" or "labels".
        changes: of a prediction; None is none.
    """
    ways = list(changes)
    sums = [_Sums() for _ in ways]
    for prediction, truth in predictions:
        known = truth["mask"]
        for change, of_way in zip(ways, sums, strict=True):
            changed = prediction if change is None else change(prediction)
            of_way.add(changed["probabilities"][known].double(), truth, kind)
    return [one.result() for one in sums]


class Bin(NamedTuple):
    """The answers of one bin.

    Args:
        answers: number of them.
        sure: their mean probability.
        right: the share that was right.
    """

    answers: int
    sure: float
    right: float


class Bins:
    """Answers by how sure a model was of them, in bins of equal width, counted while batches come."""

    def __init__(self) -> None:
        self.sums = torch.zeros(3, BINS, dtype=torch.float64)  # of each bin: answers, how sure, how often right

    def add(self, probabilities: Tensor, truth: Tensor) -> None:
        """Add a batch of samples with truth.

        Args:
            probabilities: [B C].
            truth: classes [B], or labels [B C] of 0 and 1.
        """
        if truth.ndim == 1:
            sure, answer = probabilities.double().max(-1)
            right = (answer == truth).double()
        else:
            sure, right = probabilities.double().flatten(), truth.double().flatten()
        place = (sure * BINS).ceil().long().sub(1).clamp(0, BINS - 1)  # (0, 1/15], (1/15, 2/15], ...
        for row, values in enumerate((torch.ones_like(sure), sure, right)):
            self.sums[row].index_add_(0, place, values)

    def error(self) -> float:
        """The expected calibration error."""
        count, sure, right = self.sums
        return float((sure - right).abs().sum() / count.sum())

    def filled(self) -> list[Bin]:
        """The bins that have answers, from the least sure."""
        return [Bin(int(n), sure / n, right / n) for n, sure, right in self.sums.T.tolist() if n]


class _Sums:
    def __init__(self) -> None:
        self.loss = 0.0
        self.samples = 0
        self.bins = Bins()

    def add(self, probabilities: Tensor, truth: Batch, kind: str) -> None:
        known = truth["mask"]
        if kind == "classes":
            label = truth["label"][known]
            self.loss += float(negative_log_likelihood(probabilities, label).sum())
            self.bins.add(probabilities, label)
        else:
            labels = truth["labels"][known].double()
            self.loss += float(negative_log_likelihood_of_labels(probabilities, labels).sum())
            self.bins.add(probabilities, labels)
        self.samples += int(known.sum())

    def result(self) -> Calibration:
        return Calibration(self.loss / self.samples, self.bins.error())
