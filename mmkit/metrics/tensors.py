"""Metrics of predictions as tensors: classes, labels and scalars.

Samples without truth are left out, and counted. A metric that is not defined on the given samples (AUROC of a single
class, correlation with a constant, any metric of no samples) is None, since JSON has no NaN.

Axes: B batch, N samples, C size of the target.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor

from mmkit.contract import Batch, Target
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.metrics.calibration import Bin, Bins
from mmkit.metrics.collected import Collected, OfClasses, OfLabels, OfNumbers
from mmkit.metrics.curves import AREAS, Areas
from mmkit.metrics.formulas import Measures

_LOWER_IS_BETTER = ("log_loss", "mae", "rmse")


class Metrics:
    """Collects what metrics need of the predictions of a split, batch by batch, and computes them.

    Macro averages are over the classes or labels that occur in the given truth. So `balanced_accuracy` and
    `recall_macro` of classes are equal. A precision or F1 of 0 / 0 is 0.

    Classes: `f1_micro` equals `accuracy`; `auroc_macro` and `average_precision_macro` are one-vs-rest. Labels: each
    label is a binary decision with threshold 0.5; `accuracy` is the share of right decisions, `balanced_accuracy` the
    mean over labels of the mean of sensitivity and specificity, `subset_accuracy` the share of samples whose labels are
    all right. `log_loss` of both is the mean negative log-likelihood of the truth in nats, at most 36 per sample.
    Scalars: each metric is the mean over the C numbers.

    >>> import torch
    >>> metrics = metrics_of(Target("classes", 2, ("cat", "dog")))
    >>> probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> truth = {"label": torch.tensor([0, 1, 1]), "mask": torch.tensor([True, True, False])}  # the last has no truth
    >>> metrics.update({"probabilities": probabilities}, truth)
    >>> metrics.samples, metrics.compute(["accuracy"])
    (2, {'accuracy': 0.5})
    """

    def __init__(self, target: Target, names: Collection[str] | None = None) -> None:
        self.target = target
        self._kind = _kind(target.kind)
        possible = self._kind[0]
        for name in names or ():
            if name not in possible:
                raise UsageError(f"there is no metric {name} of {target.kind}; {one_of(possible, name)}")
        self._names = tuple(possible if names is None else names)
        self._areas = None if AREAS.keys().isdisjoint(self._names) else Areas(target.size)
        self._collected: Collected = (
            OfNumbers()
            if target.kind == "scalar"
            else (OfClasses if target.kind == "classes" else OfLabels)(target.size, self._areas)
        )
        self._bins = Bins() if names is None and target.kind != "scalar" else None
        self._bad = 0
        self.samples = 0
        """The number of samples with truth."""
        self.without_truth = 0
        """The number of samples left out."""

    def update(self, prediction: Batch, truth: Batch) -> None:
        """Add a batch: what `Head.predict` returned, and the truth."""
        _, predicted, true = self._kind
        mask = truth["mask"].cpu()
        values, known = prediction[predicted].detach().cpu()[mask], truth[true].detach().cpu()[mask]
        self.samples += len(values)
        self.without_truth += len(mask) - len(values)
        finite = values.isfinite().all(-1)
        self._bad += int((~finite).sum())
        if len(values) and not self._bad:  # of predictions that are not finite nothing will be computed
            self._collected.update(values, known)
            if self._bins is not None:
                self._bins.add(values, known)

    @property
    def binned(self) -> list[str]:
        """The metrics that come from bins, because there are too many predictions to keep."""
        binned = self._areas is not None and self._areas.binned
        return [name for name in self._names if name in AREAS] if binned else []

    def compute(self, names: Collection[str] | None = None) -> dict[str, float | None]:
        """Compute all metrics that are collected, or those with the given names.

        Raises:
            UsageError: a name that this kind of target does not have, or that was not among those to collect.
            MmkitError: a prediction is not finite.
        """
        possible = self._kind[0]
        chosen = self._names if names is None else names
        for name in chosen:
            if name not in possible:
                raise UsageError(f"there is no metric {name} of {self.target.kind}; {one_of(possible, name)}")
            if name not in self._names:
                raise UsageError(f"metric {name} was not collected; only {', '.join(self._names)}")
        if self.samples == 0:
            return dict.fromkeys(chosen)
        self._check()
        measures = self._collected.measures()
        return {name: measures[name]() for name in chosen}

    def resampled(self, index: Tensor) -> Measures:
        """The metrics of the samples with truth at some places, which may repeat; those that can be computed of them.

        Raises:
            MmkitError: a prediction is not finite.
        """
        self._check()
        found = self._collected.resampled(index)
        return {name: found[name] for name in self._names if name in found}

    def per_sample(self, name: str) -> list[float] | None:
        """One value a sample with truth: their mean is the metric, and their spread that of the metric over samples.

        Of a metric that is a mean over samples they are the scores themselves, of another pseudo-scores: the metric
        plus the influence of the sample. None where the metric is not defined, or samples were not kept.
        """
        if self.samples == 0:
            return None
        self._check()
        if (scores := self._collected.per_sample().get(name)) is not None:
            return scores().double().tolist()
        value = self._collected.measures()[name]()
        influence = self._collected.influences().get(name)
        if value is None or influence is None or (psi := influence()) is None:
            return None
        return (psi + value).tolist()

    def of_each(self, name: str) -> list[float | None]:
        """An area under a curve of each class or label [C], as `average_precision_macro` is the mean of.

        None of one that all samples have, or none; empty of scalars, and where no area is collected.
        """
        self._check()
        return [] if self._areas is None else self._areas.of_columns(name)

    def higher_is_better(self, name: str) -> bool:
        """Whether a greater value of a metric is better."""
        return higher_is_better(name)

    def confusion(self) -> list[Any]:
        """Counts by true class (row) and predicted class (column); for each label [[TN, FP], [FN, TP]].

        Raises:
            UsageError: the target is scalar.
        """
        if self.target.kind == "scalar":
            raise UsageError("a scalar target has no confusion matrix; only classes and labels have one")
        self._check()
        return self._collected.confusion()

    def reliability(self) -> list[Bin]:
        """How sure the answers were, and how often right; empty for scalars, and where only some metrics are collected.

        Raises:
            MmkitError: a prediction is not finite.
        """
        self._check()
        return [] if self._bins is None else self._bins.filled()

    def _check(self) -> None:
        if self._bad:
            raise MmkitError(
                f"{self._bad} of {self.samples} predictions are not finite: training diverged; take a lower learning "
                "rate"
            )


def measured_as_tensors(kind: str) -> bool:
    """Whether `Metrics` has metrics for a kind of target; other kinds are measured by `Answers`."""
    return kind in _KINDS


def metrics_of(target: Target, names: Collection[str] | None = None) -> Metrics:
    """A new collection for predictions of a target.

    Args:
        target: what is predicted.
        names: of the metrics that will be computed, to save other work; None is all.

    Raises:
        UsageError: a kind of target without metrics, or a metric that it does not have.
    """
    return Metrics(target, names)


def leaves_of(kind: str) -> tuple[str, str]:
    """The leaf of predictions and the leaf of the truth that metrics of a kind of target read.

    >>> leaves_of("classes")
    ('probabilities', 'label')

    Raises:
        UsageError: a kind of target without metrics.
    """
    return _kind(kind)[1:]


def metric_names(kind: str) -> tuple[str, ...]:
    """The names of the metrics of a kind of target.

    >>> metric_names("scalar")
    ('mae', 'rmse', 'r2', 'pearson', 'spearman')

    Raises:
        UsageError: a kind of target without metrics.
    """
    return _kind(kind)[0]


def higher_is_better(name: str) -> bool:
    """Whether a greater value of a metric is better.

    Raises:
        UsageError: no such metric.
    """
    known = {metric for metrics, _, _ in _KINDS.values() for metric in metrics}
    if name not in known:
        raise UsageError(f"there is no metric {name}; {one_of(known, name)}")
    return name not in _LOWER_IS_BETTER


_OF_CATEGORIES = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "f1_micro",
    "precision_macro",
    "recall_macro",
    *AREAS,
    "log_loss",
)


# By kind of target: the names of metrics, the leaf of the prediction, and the leaf of the truth.
_KINDS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "classes": (_OF_CATEGORIES, "probabilities", "label"),
    "labels": ((*_OF_CATEGORIES, "subset_accuracy"), "probabilities", "labels"),
    "scalar": (("mae", "rmse", "r2", "pearson", "spearman"), "values", "values"),
}


def _kind(kind: str) -> tuple[tuple[str, ...], str, str]:
    if kind not in _KINDS:
        raise UsageError(f"there are no metrics for a target of kind {kind}; {one_of(_KINDS, kind)}")
    return _KINDS[kind]
