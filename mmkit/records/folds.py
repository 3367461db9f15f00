"""The records of folds, joined: one for each combination and run, over all samples, each of which is tested once.

What a metric is over all samples follows from the folds where it is a mean over samples (of folds of different sizes, a
weighted one), or can be counted from confusion matrices. Of other metrics, `means_of`, it is the mean over folds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmkit.metrics.calibration import BINS
from mmkit.metrics.formulas import balanced, of_counts
from mmkit.records.record import Record, ReliabilityBin, SampleCounts
from mmkit.records.scores import Scores
from mmkit.system.hashing import fingerprint

MEANS = ("auroc_macro", "average_precision_macro", "r2", "pearson", "spearman", "bleu")
"""Metrics that are the mean over folds: of all samples together they would need all predictions."""
COUNTED = ("balanced_accuracy", "f1_macro", "f1_micro", "precision_macro", "recall_macro")
"""Metrics of classes and labels that the sum of confusion matrices gives."""


def means_of(record: Record) -> list[str]:
    """The metrics on test of a joined record that are the mean over folds.

    Beside `MEANS` those of counts where there is no confusion matrix, and the root of the mean square of several
    numbers: that of each is not in the records of folds.
    """
    return [name for name in record.metrics if _is_mean(name, record.names, record.confusion)]


def _is_mean(name: str, names: Sequence[str], confusion: Sequence[Any] | None) -> bool:
    return name in MEANS or (name == "rmse" and len(names) > 1) or (name in COUNTED and not confusion)


def joined(records: Sequence[Record]) -> list[Record]:
    """The records of runs, those of folds joined: runs of one phase and index, whose seeds differ from fold to fold.

    A combination whose folds are not all there has none for that run. Where a fold failed, so has the whole, with the
    fold's error.
    """
    found: list[Record] = []
    folds: dict[str, dict[int, Record]] = {}
    for record in records:
        if record.fold is None:
            found.append(record)
            continue
        which = record.seed if record.phase is None else [record.phase, record.index]
        key = json.dumps([record.purpose, key_of(record), which])
        folds.setdefault(key, {})[record.fold.number] = record
    for of_seed in folds.values():
        parts = [of_seed[number] for number in sorted(of_seed)]
        if bad := [one for one in parts if one.status != "ok"]:
            found.append(replace(bad[0], error=f"fold {_numbers(bad)} of {_of(bad[0])}: {bad[0].error}"))
        elif len(parts) == _of(parts[0]):
            found.append(join(parts))
    return found


def key_of(record: Record) -> str:
    """What all records of a combination share, and no other has."""
    return json.dumps([record.encoders, record.fusion, record.head, record.objectives], sort_keys=True)


def join(parts: Sequence[Record]) -> Record:
    """One record of the folds of one seed, all of them completed.

    Scores are in the order of all rows; metrics on test are over all rows, and those on validation the mean over folds.
    """
    first = parts[0]
    tested = [one.samples.test or 0 if one.samples else 0 for one in parts]
    names = list(dict.fromkeys(name for one in parts for name in one.names))
    confusion = _summed(parts, names)
    means = [name for name in first.metrics if _is_mean(name, names, confusion)]
    metrics = {
        name: _mean(
            [one.metrics.get(name) for one in parts],
            [1] * len(parts) if name in means else tested,
            power=2 if name == "rmse" and name not in means else 1,
        )
        for name in first.metrics
    }
    metrics |= _counted(confusion, metrics)
    validated = [one.samples.validation if one.samples else 1 for one in parts]
    return replace(
        first,
        id=fingerprint([one.id for one in parts]),
        metrics=metrics,
        validation={
            name: _mean([one.validation.get(name) for one in parts], [1] * len(parts) if name in MEANS else validated)
            for name in first.validation
        },
        names=names,
        confusion=confusion,
        reliability=reliability_of(parts),
        scores=_scores(parts, metrics.get(first.metric), mean=first.metric in means),
        bits=_bits(parts),
        samples=_samples(parts),
        seconds=sum(one.seconds or 0.0 for one in parts),
        data={"test": {f"fold {_number(one)}, {name}": value for one in parts for name, value in _test(one).items()}},
        history=[],
        best_epoch=None,
        averaged_epochs=[],
    )


def _mean(values: Sequence[float | None], weights: Sequence[int], power: int = 1) -> float | None:
    """The mean of a metric over folds, by their weights; None where one of them has none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not sum(weights):
        return None
    mean = math.fsum(w * value**power for w, value in zip(weights, known, strict=True)) / sum(weights)
    return mean ** (1 / power) if power != 1 else mean


def _counted(confusion: list[Any] | None, names: Collection[str]) -> dict[str, float | None]:
    """The metrics of classes or labels that counts give, of `names`."""
    if not confusion:
        return {}
    matrix = torch.tensor(confusion, dtype=torch.float64)
    if matrix.ndim == 3:  # [C 2 2], of labels
        tn, fp, fn, tp = matrix.flatten(1).unbind(1)
    else:  # [C C], of classes
        tp = matrix.diagonal()
        fp, fn = matrix.sum(0) - tp, matrix.sum(1) - tp
        tn = matrix.sum() - tp - fp - fn
    measures = of_counts(torch.stack((tp, fp, tn, fn, tp + fn), 1))
    found = {name: measure() for name, measure in measures.items() if name in names}
    if "balanced_accuracy" in names:
        found["balanced_accuracy"] = measures["recall_macro"]() if matrix.ndim == 2 else balanced(tp, fp, tn, fn)
    return found


def _summed(parts: Sequence[Record], names: Sequence[str]) -> list[Any] | None:
    """The confusion matrix of all folds; training splits may know different classes, so they go by name."""
    place = {name: at for at, name in enumerate(names)}
    total: np.ndarray[Any, Any] | None = None
    for one in parts:
        if not one.confusion:
            return None
        matrix = np.asarray(one.confusion)
        if total is None:
            total = np.zeros((len(names), *((2, 2) if matrix.ndim == 3 else (len(names),))), np.int64)
        at = np.array([place[name] for name in one.names])
        total[at if matrix.ndim == 3 else np.ix_(at, at)] += matrix
    return None if total is None else total.tolist()


def reliability_of(parts: Sequence[Record]) -> list[ReliabilityBin]:
    """How sure the answers of several records were, and how often right, bin by bin."""
    sums: dict[int, list[float]] = {}
    for one in (one for part in parts for one in part.reliability):
        of_bin = sums.setdefault(min(max(math.ceil(one.sure * BINS) - 1, 0), BINS - 1), [0.0, 0.0, 0.0])
        for place, value in enumerate((one.answers, one.answers * one.sure, one.answers * one.right)):
            of_bin[place] += value
    return [ReliabilityBin(int(n), sure / n, right / n) for _, (n, sure, right) in sorted(sums.items())]


def _scores(parts: Sequence[Record], value: float | None, *, mean: bool) -> Scores | None:
    """The score of each row, in the order of all rows: that of the fold that tested it.

    They are moved to the value of the metric over all rows, which of a metric that is no mean over samples may lie
    beside that of the folds. Of a mean over folds the influence of a row is that on its fold, by the fold's share.
    """
    if value is None:
        return None
    given = [one.scores.values for one in parts if one.scores]
    if len(given) < len(parts) or len({len(values) for values in given}) != 1:
        return None
    total = np.full(len(given[0]), np.nan, np.float32)
    tested = [~np.isnan(values) for values in given]
    rows = sum(int(there.sum()) for there in tested)
    for values, there in zip(given, tested, strict=True):
        found = values[there].astype(np.float64)
        share = rows / (len(given) * len(found)) if len(found) else 1.0
        total[there] = value + share * (found - found.mean()) if mean else found
    total += np.float32(value - np.nanmean(total.astype(np.float64)))
    return Scores(given=total)


def _bits(parts: Sequence[Record]) -> Scores | None:
    """The bits of each row, in the order of all rows: those of the fold that tested it."""
    given = [one.bits.values for one in parts if one.bits]
    if len(given) < len(parts) or len({len(values) for values in given}) != 1:
        return None
    total = np.full(len(given[0]), np.nan, np.float32)
    for values in given:
        total[~np.isnan(values)] = values[~np.isnan(values)]
    return Scores(given=total)


def _samples(parts: Sequence[Record]) -> SampleCounts | None:
    """Of train and validation those of the first fold, of test those of all."""
    counts = [one.samples for one in parts if one.samples]
    if len(counts) < len(parts):
        return None
    first = counts[0]
    missing = {name: dict(of) for name, of in first.missing.items()}
    if "test" in missing:
        missing["test"] = {name: sum(one.missing["test"].get(name, 0) for one in counts) for name in missing["test"]}
    without = dict(first.without_truth)
    if "test" in without:
        without["test"] = sum(one.without_truth.get("test", 0) for one in counts)
    return SampleCounts(first.train, first.validation, sum(one.test or 0 for one in counts), without, missing)


def _test(record: Record) -> Mapping[str, str]:
    return record.data.get("test", {})


def _number(record: Record) -> int:
    return record.fold.number if record.fold else 0


def _of(record: Record) -> int:
    return record.fold.of if record.fold else 1


def _numbers(records: Sequence[Record]) -> str:
    return ", ".join(str(_number(one)) for one in records)
