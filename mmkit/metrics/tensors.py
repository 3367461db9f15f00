"""Metrics of predictions as tensors: classes, labels and scalars.

Samples without truth are left out, and counted. A metric that is not defined on the given samples (AUROC of a single
class, correlation with a constant, any metric of no samples) is None, since JSON has no NaN.

Axes: B batch, N samples, C size of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Batch, Target
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.metrics.formulas import (
    negative_log_likelihood,
    negative_log_likelihood_of_labels,
    of_classes,
    of_labels,
    of_numbers,
)

_LOWER_IS_BETTER = ("log_loss", "mae", "rmse")


class Metrics:
    """Collects the predictions of a split and computes metrics.

    Macro averages are over the classes or labels that occur in the given truth. So `balanced_accuracy` and
    `recall_macro` of classes are equal. A precision or F1 of 0 / 0 is 0.

    Classes: `f1_micro` equals `accuracy`, and `auroc_macro` is one-vs-rest. Labels: each label is a binary decision
    with threshold 0.5; `accuracy` is the share of right decisions, `balanced_accuracy` the mean over labels of the mean
    of sensitivity and specificity, `subset_accuracy` the share of samples whose labels are all right. `log_loss` of
    both is the mean negative log-likelihood of the truth in nats, at most 36 per sample. Scalars: each metric is the
    mean over the C numbers.

    >>> metrics = metrics_of(Target("classes", 2, ("cat", "dog")))
    >>> probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> truth = {"label": torch.tensor([0, 1, 1]), "mask": torch.tensor([True, True, False])}  # the last has no truth
    >>> metrics.update({"probabilities": probabilities}, truth)
    >>> metrics.samples, metrics.compute(["accuracy"])
    (2, {'accuracy': 0.5})
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._kind = _kind(target.kind)
        self._predictions: list[Tensor] = []
        self._truths: list[Tensor] = []
        self._masks: list[Tensor] = []

    def update(self, prediction: Batch, truth: Batch) -> None:
        """Add a batch: what `Head.predict` returned, and the truth."""
        _, predicted, true = self._kind
        # No value is read here, so that the accelerator is not waited for.
        self._predictions.append(prediction[predicted].detach())
        self._truths.append(truth[true].detach())
        self._masks.append(truth["mask"])

    @property
    def samples(self) -> int:
        """The number of samples with truth."""
        return sum(int(mask.sum()) for mask in self._masks)

    @property
    def without_truth(self) -> int:
        """The number of samples left out."""
        return sum(len(mask) for mask in self._masks) - self.samples

    def compute(self, names: Collection[str] | None = None) -> dict[str, float | None]:
        """Compute all metrics of the kind of target, or those with the given names.

        Raises:
            UsageError: a name that this kind of target does not have.
            MmkitError: a prediction is not finite.
        """
        possible = self._kind[0]
        chosen = possible if names is None else names
        for name in chosen:
            if name not in possible:
                raise UsageError(f"there is no metric {name} of {self.target.kind}; {one_of(possible, name)}")
        if self.samples == 0:
            return dict.fromkeys(chosen)
        measure = {"classes": of_classes, "labels": of_labels, "scalar": of_numbers}[self.target.kind]
        measures = measure(*self._together())
        return {name: measures[name]() for name in chosen}

    def per_sample(self, name: str) -> list[float] | None:
        """The values, one per sample with truth, whose mean a metric is; None for a metric that is no such mean."""
        measure = _PER_SAMPLE.get((self.target.kind, name))
        if measure is None or self.samples == 0:
            return None
        return measure(*self._together()).double().tolist()

    def higher_is_better(self, name: str) -> bool:
        """Whether a greater value of a metric is better."""
        return higher_is_better(name)

    def confusion(self) -> list[Any]:
        """Counts by true class (row) and predicted class (column); for each label [[TN, FP], [FN, TP]].

        Raises:
            UsageError: the target is scalar.
        """
        from torchmetrics.functional import classification  # noqa: PLC0415 (it imports torchvision and transformers: seconds)

        if self.target.kind == "scalar":
            raise UsageError("a scalar target has no confusion matrix; only classes and labels have one")
        size = self.target.size
        if self.samples == 0:
            empty = torch.zeros((size, size) if self.target.kind == "classes" else (size, 2, 2), dtype=torch.long)
            return empty.tolist()
        probabilities, truth = self._together()
        if self.target.kind == "classes":
            return classification.multiclass_confusion_matrix(probabilities.argmax(-1), truth, size).tolist()
        columns = zip(probabilities.T, truth.T.long(), strict=True)
        return [classification.binary_confusion_matrix(p, yes).tolist() for p, yes in columns]

    def _together(self) -> tuple[Tensor, Tensor]:
        mask = torch.cat(self._masks).cpu()
        prediction = torch.cat(self._predictions).cpu()[mask].double()  # [N C]
        bad = int((~prediction.isfinite()).any(-1).sum())
        if bad:
            raise MmkitError(
                f"{bad} of {len(prediction)} predictions are not finite: training diverged; take a lower learning rate"
            )
        return prediction, torch.cat(self._truths).cpu()[mask]


def measured_as_tensors(kind: str) -> bool:
    """Whether `Metrics` has metrics for a kind of target; other kinds are measured by `Answers`."""
    return kind in _KINDS


def metrics_of(target: Target) -> Metrics:
    """A new collection for predictions of a target.

    Raises:
        UsageError: a kind of target without metrics.
    """
    return Metrics(target)


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
    "auroc_macro",
    "log_loss",
)


def _recalls(probabilities: Tensor, label: Tensor) -> Tensor:
    """Whether each sample is right, by the size of its class, so that the mean is that of the classes' recalls; [N]."""
    sizes = torch.bincount(label)
    right = (probabilities.argmax(-1) == label).double()
    return right / sizes[label] * (len(label) / (sizes > 0).sum())


# Metrics that are a mean over samples: their values [N] from prediction [N C] and truth, by kind of target and name.
_PER_SAMPLE: dict[tuple[str, str], Callable[[Tensor, Tensor], Tensor]] = {
    ("classes", "accuracy"): lambda probabilities, label: probabilities.argmax(-1) == label,
    ("classes", "balanced_accuracy"): _recalls,
    ("classes", "log_loss"): negative_log_likelihood,
    ("labels", "log_loss"): negative_log_likelihood_of_labels,
    ("labels", "accuracy"): lambda probabilities, labels: ((probabilities > 0.5) == (labels > 0)).double().mean(-1),
    ("labels", "subset_accuracy"): lambda probabilities, labels: ((probabilities > 0.5) == (labels > 0)).all(-1),
    ("scalar", "mae"): lambda values, truth: (values - truth).abs().mean(-1),
}
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
