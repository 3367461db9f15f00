"""Classes and labels with few test samples: what a margin over samples has to allow for, since no score shows it.

A mean over classes hangs on each of them alike. Where a class has one test sample, its recall is that sample: no score
shows how it would be with another one, and two or three that are all right show little. So with fewer than `FEW` test
samples of a class the variance of its difference is taken to be more than the spread of its scores, as though two
further samples had gone one each way: by 2 / n^2, and by 1 / n at most, which is all that it can be. Scores of folds
show the spread within each fold alone, so that of them it is 2 / (n m), with m the fewest samples in a fold, which are
to be `FEW`.

How often equal combinations are told apart is measured by benchmarks/verdicts.py.

Axes: K folds, C classes or labels; sides, samples that have them, and where these count as much, samples that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmkit.records.record import Record

FEW = 10
"""Test samples of a class, in each fold, from which on their spread says enough."""
FEW_OF_AREAS = 3
"""The same of areas under curves: of each sample they take the share of pairs, not yes or no, so it varies sooner."""
MACRO = (
    "balanced_accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "auroc_macro",
    "average_precision_macro",
)
"""Metrics that are means over classes or labels."""
TWO_SIDED = ("balanced_accuracy", "auroc_macro")
"""Those that of labels hang on the samples without them as much as on those with them."""


class Support(NamedTuple):
    """What few test samples of a class or label leave unseen.

    Args:
        unseen: the variance of a difference of two combinations that their scores do not show; 0 where all classes have
            enough samples, of other metrics, and of more classes than a confusion matrix is kept of.
        why: which class has the fewest, and how many, in words; empty where nothing is unseen.
    """

    unseen: float = 0.0
    why: str = ""


def support(records: Sequence[Record], metric: str) -> Support:
    """What is unseen of a metric on the samples that some runs were tested on.

    Args:
        records: of the same test split; of folds those of each fold, not joined.
        metric: its name.
    """
    known = {record.fold.number if record.fold else 0: record for record in records if record.confusion}
    if metric not in MACRO or not known:
        return Support()
    labels = np.asarray(next(iter(known.values())).confusion).ndim == 3
    both = labels and metric in TWO_SIDED
    of_folds = [_counts(record) for record in known.values()]
    names = list(dict.fromkeys(name for of in of_folds for name in of))
    counts = np.array([[of.get(name, (0, 0))[: 1 + both] for name in names] for of in of_folds], float)  # [K C sides]
    there = (counts.sum(0) > 0).all(1)  # [C], those that the mean is over
    names, counts = [name for name, of in zip(names, there, strict=True) if of], counts[:, there]
    least, total = counts.min(0), counts.sum(0)
    few = FEW_OF_AREAS if metric == "auroc_macro" else FEW
    variance = np.where(least < few, np.minimum(1, 2 / np.maximum(least, 1)) / total, 0)
    weight = 1 / max(len(names), 1) / (2 if both and metric == "balanced_accuracy" else 1)
    if metric == "auroc_macro" and len(names) == 2 and not labels:
        weight = 1.0  # the areas of two classes are one
    if not variance.any():
        return Support()
    at, side = np.unravel_index(least.argmin(), least.shape)
    fold = f" in fold {list(known)[int(counts[:, at, side].argmin())]}" if len(known) > 1 else ""
    number = f"{least[at, side]:.0f} test sample{'' if least[at, side] == 1 else 's'}{fold}"
    held = f"{number} without it" if side else number
    return Support(weight**2 * float(variance.sum()), f"{'label' if labels else 'class'} {names[at]} has {held}")


def _counts(record: Record) -> dict[str, tuple[int, int]]:
    """The test samples with each class or label, and without it."""
    matrix = np.asarray(record.confusion)
    rows = matrix.sum(-1)  # [C] of classes, [C 2] of labels: without and with
    pairs = rows[:, ::-1].tolist() if matrix.ndim == 3 else [(one, rows.sum() - one) for one in rows.tolist()]
    return {name: (int(pair[0]), int(pair[1])) for name, pair in zip(record.names, pairs, strict=True)}
