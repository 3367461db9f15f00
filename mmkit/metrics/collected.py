"""What is kept of predictions while batches come: counts, sums, and at most one number of each sample a metric.

Predictions [N C] themselves are kept for two kinds of metric, which need the order of all: correlations of numbers, and
areas under curves, see `curves.py`.

Axes: B samples of a batch, N samples (at least one), C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from mmkit.metrics.curves import CELLS, Areas
from mmkit.metrics.formulas import (
    Measures,
    balanced,
    mean,
    negative_log_likelihood,
    negative_log_likelihood_of_labels,
    of_counts,
    rates,
)
from mmkit.metrics.formulas import of_numbers as measures_of_numbers
from mmkit.metrics.influence import of_classes, of_labels, of_numbers


class Collected(Protocol):
    """The predictions of one kind of target."""

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch of samples with truth: predictions [B C] and truth, both on the CPU."""
        ...

    def measures(self) -> Measures:
        """Each metric, computed when called."""
        ...

    def resampled(self, index: Tensor) -> Measures:
        """Each metric of the samples at some places, which may repeat; those alone that can be computed of them."""
        ...

    def per_sample(self) -> dict[str, Callable[[], Tensor]]:
        """The values [N] whose mean a metric is, of the metrics that are such a mean."""
        ...

    def influences(self) -> dict[str, Callable[[], Tensor | None]]:
        """What each sample adds to a metric [N], of the metrics that are no such mean; None where it was not kept."""
        ...

    def confusion(self) -> list[Any]:
        """Counts by true class (row) and predicted class (column); for each label [[TN, FP], [FN, TP]]."""
        ...


OVER_CLASSES = ("balanced_accuracy", "f1_macro", "precision_macro", "recall_macro")
"""Metrics of classes or labels that are means over them."""


def _undefined() -> None:
    return None


class OfClasses:
    """Of classes: of each sample its class, the predicted one, and the log loss.

    Args:
        size: C.
        areas: collects for areas under curves; None where nobody asks for them.
    """

    def __init__(self, size: int, areas: Areas | None) -> None:
        self.size = size
        self._areas = areas
        self._label: list[Tensor] = []
        self._predicted: list[Tensor] = []
        self._loss: list[Tensor] = []

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch: probabilities [B C], and classes [B]."""
        self._label.append(truth)
        self._predicted.append(prediction.argmax(-1))
        self._loss.append(negative_log_likelihood(prediction.double(), truth))
        if self._areas is not None:
            self._areas.update(prediction, truth)

    def measures(self) -> Measures:
        """Each metric, computed when called."""
        label, predicted, loss = torch.cat(self._label), torch.cat(self._predicted), torch.cat(self._loss)
        return self._of(label, predicted, loss) | (self._areas.measures() if self._areas is not None else {})

    def resampled(self, index: Tensor) -> Measures:
        """Each metric of the samples at some places; areas under curves where there are few enough.

        A mean over classes is not defined where one of them is not drawn: without a rare class that nobody finds, it
        would be perfect.
        """
        label, predicted, loss = torch.cat(self._label), torch.cat(self._predicted), torch.cat(self._loss)
        found = self._of(label[index], predicted[index], loss[index])
        some, all_ = (of.bincount(minlength=self.size) > 0 for of in (label[index], label))
        found |= self._areas.resampled(index) if self._areas is not None else {}
        return found if some.equal(all_) else {**found, **dict.fromkeys(OVER_CLASSES, _undefined)}

    def _of(self, label: Tensor, predicted: Tensor, loss: Tensor) -> Measures:
        support = label.bincount(minlength=self.size)
        tp = label[predicted == label].bincount(minlength=self.size)
        fp, fn = predicted.bincount(minlength=self.size) - tp, support - tp
        counts = torch.stack((tp, fp, len(label) - tp - fp - fn, fn, support), -1).double()  # [C 5]
        recall, *_ = rates(counts)
        found: Measures = {
            **of_counts(counts),
            "accuracy": lambda: float((predicted == label).double().mean()),
            "balanced_accuracy": lambda: mean(recall[support > 0]),
            "log_loss": lambda: float(loss.mean()),
        }
        return found

    def per_sample(self) -> dict[str, Callable[[], Tensor]]:
        """Whether each sample is right, and its log loss."""
        return {
            "accuracy": lambda: torch.cat(self._predicted) == torch.cat(self._label),
            "log_loss": lambda: torch.cat(self._loss),
        }

    def influences(self) -> dict[str, Callable[[], Tensor | None]]:
        """On metrics of counts, and on areas."""
        areas = self._areas.influences() if self._areas is not None else {}
        return {**of_classes(torch.cat(self._label), torch.cat(self._predicted), self.size), **areas}

    def confusion(self) -> list[Any]:
        """[C C]: counts by true class (row) and predicted class (column)."""
        if not self._label:
            return torch.zeros(self.size, self.size, dtype=torch.long).tolist()
        pairs = torch.cat(self._label) * self.size + torch.cat(self._predicted)
        return pairs.bincount(minlength=self.size**2).view(self.size, self.size).tolist()


class OfLabels:
    """Of labels: how often each was right and wrong, and of each sample the share that is right and the log loss.

    Args:
        size: C.
        areas: collects for areas under curves; None where nobody asks for them.
    """

    def __init__(self, size: int, areas: Areas | None) -> None:
        self.size = size
        self._areas = areas
        self._counts = torch.zeros(4, size, dtype=torch.long)  # true and false positives, true and false negatives
        self._right: list[Tensor] = []
        self._loss: list[Tensor] = []
        self._kept = 0  # answers
        self._each: list[Tensor] | None = []  # [B C] bytes: 1 where the answer is yes, and 2 more where the truth is

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch: probabilities [B C], and labels [B C] of 0 and 1."""
        yes, answer = truth > 0, prediction > 0.5
        self._keep(answer.byte() + 2 * yes.byte())
        self._counts += torch.stack(
            ((answer & yes).sum(0), (answer & ~yes).sum(0), (~answer & ~yes).sum(0), (~answer & yes).sum(0))
        )
        self._right.append((answer == yes).sum(-1))
        self._loss.append(negative_log_likelihood_of_labels(prediction.double(), truth))
        if self._areas is not None:
            self._areas.update(prediction, yes)

    def measures(self) -> Measures:
        """Each metric, computed when called."""
        each, areas = self.per_sample(), self._areas
        tp, _, tn, _ = self._counts.double()
        found: Measures = {
            **_of_labels(self._counts),
            "accuracy": lambda: float((tp + tn).sum() / self._counts.sum()),
            "log_loss": lambda: float(each["log_loss"]().mean()),
            "subset_accuracy": lambda: float(each["subset_accuracy"]().double().mean()),
        }
        return found | (areas.measures() if areas is not None else {})

    def resampled(self, index: Tensor) -> Measures:
        """Each metric of the samples at some places; means over samples alone where answers were not kept.

        A mean over labels is not defined where a draw lacks a value of a label that occurs among all samples.
        """
        each = {name: values().double()[index] for name, values in self.per_sample().items()}
        found: Measures = {name: partial(_mean, values) for name, values in each.items()}
        found |= self._areas.resampled(index) if self._areas is not None else {}
        if self._each is None:
            return found
        answers = torch.cat(self._each)[index]
        counts = torch.stack([(answers == cell).sum(0) for cell in (3, 1, 0, 2)])
        found |= _of_labels(counts)
        of_draw, of_all = ((of[[0, 1]] + of[[3, 2]] > 0) for of in (counts, self._counts))  # [2 C]: yes and no occur
        if not of_draw.equal(of_all):
            found |= dict.fromkeys(OVER_CLASSES, _undefined)
        return found

    def per_sample(self) -> dict[str, Callable[[], Tensor]]:
        """The share of labels that are right, whether all are, and the log loss of each sample."""
        return {
            "accuracy": lambda: torch.cat(self._right).double() / self.size,
            "subset_accuracy": lambda: torch.cat(self._right) == self.size,
            "log_loss": lambda: torch.cat(self._loss),
        }

    def _keep(self, each: Tensor) -> None:
        """Keep the answers of a batch, up to as many as areas under curves keep."""
        if self._each is not None:
            self._each.append(each)
            self._kept += each.numel()
            if self._kept > CELLS:
                self._each = None

    def influences(self) -> dict[str, Callable[[], Tensor | None]]:
        """On metrics of counts, and on areas; there are none on counts of more than 50 million answers."""
        areas = self._areas.influences() if self._areas is not None else {}
        if self._each is None:
            return {**areas}
        each = torch.cat(self._each)
        return {**of_labels(each % 2 == 1, each > 1), **areas}

    def confusion(self) -> list[Any]:
        """[C 2 2]: [[TN, FP], [FN, TP]] of each label."""
        tp, fp, tn, fn = self._counts
        return torch.stack((tn, fp, fn, tp), -1).view(self.size, 2, 2).tolist()


class OfNumbers:
    """Of numbers: all of them, in float64, since ranks and correlations need all."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._truth: list[Tensor] = []

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch: values [B C] and true values [B C]."""
        self._values.append(prediction.double())
        self._truth.append(truth)

    def measures(self) -> Measures:
        """Each metric, computed when called."""
        return measures_of_numbers(torch.cat(self._values), torch.cat(self._truth))

    def resampled(self, index: Tensor) -> Measures:
        """Each metric of the samples at some places."""
        return measures_of_numbers(torch.cat(self._values)[index], torch.cat(self._truth)[index])

    def per_sample(self) -> dict[str, Callable[[], Tensor]]:
        """The mean absolute error of each sample."""
        return {"mae": lambda: (torch.cat(self._values) - torch.cat(self._truth)).abs().mean(-1)}

    def influences(self) -> dict[str, Callable[[], Tensor | None]]:
        """On errors and correlations."""
        return {**of_numbers(torch.cat(self._values), torch.cat(self._truth))}

    def confusion(self) -> list[Any]:
        """Numbers have none; the matrix is empty."""
        return []


def _of_labels(counts: Tensor) -> Measures:
    """The metrics that counts give: [4 C] true and false positives, true and false negatives."""
    tp, fp, tn, fn = counts.double()
    return {
        **of_counts(torch.stack((tp, fp, tn, fn, tp + fn), -1)),
        "balanced_accuracy": lambda: balanced(tp, fp, tn, fn),
    }


def _mean(values: Tensor) -> float:
    return float(values.mean())
