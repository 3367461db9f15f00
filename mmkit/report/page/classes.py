"""Classes and labels of the proposed row on test: what is found of each, and what is taken for what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmkit.report.summary import Row

SQUARE = 20
"""Classes of the largest confusion matrix that is shown whole."""
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
    """

    name: str
    samples: int
    recall: float | None
    precision: float | None
    f1: float | None


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
    shares = total / np.maximum(total.sum(1, keepdims=True), 1)
    wrong = [(int(total[i, j]), i, j) for i in range(len(names)) for j in range(len(names)) if i != j and total[i, j]]
    wrong.sort(key=lambda one: -one[0])
    pairs = [(names[i], names[j], count, float(shares[i, j])) for count, i, j in wrong[:PAIRS]]
    whole = Confusion(names, total.tolist(), shares.tolist()) if len(names) <= SQUARE else None
    return Classes(of, seeds, labels, whole, pairs)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
