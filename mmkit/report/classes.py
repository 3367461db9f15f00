"""Classes and labels of a row on test: what is found of each, what is taken for what, how honest answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmkit.records.folds import reliability_of
from mmkit.records.record import ReliabilityBin
from mmkit.report.labels import plain
from mmkit.report.sheet import Sheet, share
from mmkit.report.summary import Row

SQUARE = 20
"""Classes of the largest confusion matrix that is shown whole."""
FEW = 10
"""Classes or labels that a terminal shows all of."""
WORST = 5
"""Of more it shows those that are found least."""
LONG = 20
"""Letters of the name of another class in a cell."""
Array = np.ndarray[Any, Any]
PAIRS = 10
"""Confusions that are named."""


@dataclass(frozen=True)
class OfClass:
    """One class or label, over the seeds of a row.

    Args:
        name: of it.
        samples: of test that have it.
        recall: of them, the share that was found; None without any.
        precision: of the answers that name it, the share that is right; None where none does.
        f1: the harmonic mean of both; None where neither is defined.
        taken: the other class that it was taken for most often, and the share of its samples; None of labels, and of a
            class without errors.
    """

    name: str
    samples: int
    recall: float | None
    precision: float | None
    f1: float | None
    taken: tuple[str, float] | None = None


@dataclass(frozen=True)
class Confusion:
    """What was taken for what, summed over seeds.

    Args:
        names: of the classes.
        counts: by truth, then by answer.
        shares: of the samples of a class, by truth, then by answer.
    """

    names: list[str]
    counts: list[list[int]]
    shares: list[list[float]]


@dataclass(frozen=True)
class Classes:
    """Classes or labels of a row.

    Args:
        of: each of them, in the order of the records.
        seeds: over how many the counts are summed.
        labels: whether they are labels, any of which may apply.
        confusion: the matrix; None of labels and of many classes.
        pairs: truth, answer, count and share of the most frequent confusions; empty for labels.
    """

    of: list[OfClass]
    seeds: int
    labels: bool
    confusion: Confusion | None
    pairs: list[tuple[str, str, int, float]]


def classes(row: Row) -> Classes | None:
    """The classes or labels of a row; None of numbers, of texts and of more than 100 classes."""
    records = [one for one in row.records if one.confusion and one.names == row.records[0].names]
    if not records:
        return None
    names = records[0].names
    total = np.sum([np.asarray(one.confusion, np.int64) for one in records], axis=0)
    seeds, labels = len(records), total.ndim == 3
    if labels:  # [C 2 2]
        fp, fn, tp = total[:, 0, 1], total[:, 1, 0], total[:, 1, 1]
    else:  # [C C]
        tp = total.diagonal()
        fp, fn = total.sum(0) - tp, total.sum(1) - tp
    of = [
        OfClass(name, (t + n) // seeds, _share(t, t + n), _share(t, t + p), _share(2 * t, 2 * t + p + n))
        for name, t, p, n in zip(names, tp.tolist(), fp.tolist(), fn.tolist(), strict=True)
    ]
    if labels:
        return Classes(of, seeds, labels, None, [])
    of = [replace(one, taken=_taken(names, total[at], at)) for at, one in enumerate(of)]
    shares = total / np.maximum(total.sum(1, keepdims=True), 1)
    wrong = [(int(total[i, j]), i, j) for i in range(len(names)) for j in range(len(names)) if i != j and total[i, j]]
    wrong.sort(key=lambda one: -one[0])
    pairs = [(names[i], names[j], count, float(shares[i, j])) for count, i, j in wrong[:PAIRS]]
    whole = Confusion(names, total.tolist(), shares.tolist()) if len(names) <= SQUARE else None
    return Classes(of, seeds, labels, whole, pairs)


def _taken(names: Sequence[str], answers: Array, own: int) -> tuple[str, float] | None:
    """Of the answers [C] to the samples of one class the most frequent wrong one, with its share."""
    wrong = answers.copy()
    wrong[own] = 0
    at = int(wrong.argmax())
    return (names[at], float(wrong[at] / answers.sum())) if wrong[at] else None


def calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """The expected calibration error: how far being right lies from being sure, weighted by answers; None without any.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    total = sum(one.answers for one in bins)
    return sum(one.answers * abs(one.sure - one.right) for one in bins) / total if total else None


def classes_sheet(row: Row) -> Sheet | None:
    """The classes or labels of a row as a table: all of a few, else those that are found least; None without any."""
    known = classes(row)
    if known is None:
        return None
    one, several = ("label", "Labels") if known.labels else ("class", "Classes")
    shown, title = known.of, f"{several} of {plain(row.fusion)} on test, in percent"
    if len(known.of) > FEW:
        there = [each for each in known.of if each.recall is not None]
        shown = sorted(there, key=lambda each: each.recall or 0.0)[:WORST]
        title += f": the {len(shown)} of {len(known.of)} that are found least"
    error = calibration_error(reliability_of(row.records))
    if error is not None:
        title += f"; calibration error (ECE) {share(error)}"
    lines = [
        [
            plain(each.name),
            f"{each.samples:,}",
            share(each.recall),
            share(each.precision),
            share(each.f1),
            *([] if known.labels else [_told(each)]),
        ]
        for each in shown
    ]
    return Sheet(
        title, [one], ["samples", "recall", "precision", "F1", *([] if known.labels else ["taken for"])], lines
    )


def _told(one: OfClass) -> str:
    if one.taken is None:
        return "-"
    name = plain(one.taken[0])
    return f"{name if len(name) <= LONG else name[: LONG - 1] + '…'} {share(one.taken[1])}"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
