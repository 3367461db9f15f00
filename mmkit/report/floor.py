"""The floor: what an answer is worth that looks at no input, said where the chosen fusion is not surely above it.

Axes: S seeds, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmkit.records.record import Record
from mmkit.records.support import support
from mmkit.records.verdicts import Terms
from mmkit.report.labels import plain
from mmkit.report.statistics import margin
from mmkit.report.summary import Row
from mmkit.report.values import written
from mmkit.report.verdict import chosen
from mmkit.titles import title_of


class Floor(NamedTuple):
    """What an answer without inputs is worth.

    Args:
        value: of the metric on test.
        answer: which one it is, in words: "answering no every time".
    """

    value: float
    answer: str

    def sentence(self, metric: str) -> str:
        """In words, without its end."""
        return f"{self.answer[0].upper()}{self.answer[1:]} has {title_of(metric)} {written(self.value, metric)}"


def floor_of(record: Record) -> Floor | None:
    """The floor of the metric of a run; None where its record does not tell, as of a loss of classes.

    >>> from types import SimpleNamespace
    >>> floor_of(SimpleNamespace(metric="accuracy", metrics={}, names=["no", "yes"], confusion=[[1, 2], [0, 6]]))
    Floor(value=0.6666666666666666, answer='answering yes every time, the most frequent class of test,')
    """
    if record.confusion:
        counts = np.asarray(record.confusion)
        return _of_labels(record, counts) if counts.ndim == 3 else _of_classes(record, counts)
    r2, rmse = record.metrics.get("r2"), record.metrics.get("rmse")
    values = {"r2": 0.0}
    # Of folds R2 is a mean, and RMSE is not: one does not follow from the other.
    if r2 is not None and rmse is not None and r2 < 1 and len(record.names) <= 1 and record.fold is None:
        values["rmse"] = rmse / math.sqrt(1 - r2)
    return _floor(values, record, "answering the mean of test every time")


def _of_classes(record: Record, counts: np.ndarray) -> Floor | None:
    """Of a confusion matrix [C C], one row a true class."""
    sizes = counts.sum(1)
    if len(record.names) != len(sizes):
        return None
    share, classes = sizes.max() / max(1, sizes.sum()), max(1, int(np.count_nonzero(sizes)))
    values = {
        "accuracy": share,
        "f1_micro": share,
        "balanced_accuracy": 1 / classes,
        "recall_macro": 1 / classes,
        "precision_macro": share / classes,
        "f1_macro": 2 * share / (1 + share) / classes,
        "auroc_macro": 0.5,
        "average_precision_macro": 1 / classes,
    }
    name = plain(record.names[int(sizes.argmax())])
    return _floor(values, record, f"answering {name} every time, the most frequent class of test,")


def _of_labels(record: Record, counts: np.ndarray) -> Floor | None:
    """Of the matrices [C 2 2] of labels, [[TN, FP], [FN, TP]]."""
    sizes = counts.sum(2)  # [C 2] without the label, and with it
    shares = [yes / (no + yes) for no, yes in sizes.tolist() if no and yes]
    values = {
        "accuracy": float(np.mean(sizes.max(1) / np.maximum(1, sizes.sum(1)))),
        "balanced_accuracy": 0.5,
        "auroc_macro": 0.5,
        "average_precision_macro": float(np.mean(shares)) if shares else 0.0,
    }
    return _floor(values, record, "answering yes or no to each label every time, whichever is more frequent in test,")


def _floor(values: dict[str, float], record: Record, answer: str) -> Floor | None:
    return Floor(float(values[record.metric]), answer) if record.metric in values else None


def near_the_floor(found: Sequence[Row], terms: Terms | None = None) -> str:
    """A sentence where the chosen fusion is not surely above the floor; else nothing.

    Args:
        found: the rows of a suite.
        terms: the groups of test samples.
    """
    row = chosen(found)
    if row is None or not row.tested or (floor := floor_of(row.records[0])) is None:
        return ""
    spread = row.spread(row.metric)
    tables = [record.scores.values for record in row.records if record.scores]
    if spread is None or len(tables) < len(row.records) or len({len(one) for one in tables}) > 1:
        return ""
    sign = 1 if row.higher_is_better else -1
    scores = sign * np.stack(tables).astype(np.float64)
    groups = [labels for labels in (terms or Terms()).groups.values() if len(labels) == scores.shape[1]]
    known = ~np.isnan(scores).any(0)
    if known.sum() < 2:
        return ""
    level = np.full((len(scores), int(known.sum())), sign * floor.value)
    unseen = support(row.trainings, row.metric).unseen
    beyond = margin(scores[:, known], level, groups=[labels[known] for labels in groups], unseen=unseen)
    if beyond.of_samples is None or beyond.difference > math.hypot(beyond.of_samples, beyond.of_seeds or 0.0):
        return ""
    return (
        f"{floor.sentence(row.metric)}; {plain(row.fusion)}, {written(spread.mean, row.metric)}, is not surely better."
    )
