"""A saved model measured on a labelled table: all metrics with their intervals, each class, and what was left out.

Axes: N samples with truth, B samples of a batch, C size of the target, R resamples.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from mmkit.contract import Measure, Samples
from mmkit.data.row_hashes import Hashes, hashes_of_inputs, together
from mmkit.errors import DataError, UsageError, one_of
from mmkit.experiments.evaluation import answered_numbers
from mmkit.metrics.answers import Answers, measures_of
from mmkit.metrics.formulas import rates
from mmkit.metrics.intervals import FEWER, drawn_anew, draws_of, interval
from mmkit.metrics.tensors import Metrics, leaves_of, measured_as_tensors, metric_names, metrics_of
from mmkit.model.answers import Asked
from mmkit.model.prediction import losses_of_samples, predictions
from mmkit.model.table_rows import Broken, Unread, decimal_hint, layout_of, rows_of
from mmkit.model.trained import MultimodalModel
from mmkit.model.trained_on import TrainedOn
from mmkit.sources.layout import Layout
from mmkit.sources.streaming import Stream
from mmkit.sources.truths import plain_truth, truths
from mmkit.system.progress import SILENT, Progress
from mmkit.system.settings import OnError
from mmkit.system.state import own_state
from mmkit.titles import counted
from mmkit.transforms.truth import numbers_of


class Metric(NamedTuple):
    """A metric with its interval.

    Args:
        value: over all samples; None where it is not defined.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class OfClass(NamedTuple):
    """How one class or label is told.

    Args:
        name: of it.
        rows: that truly have it.
        precision: the share of those said to have it that do.
        recall: the share of those that have it which were found.
        f1: the harmonic mean of both.
        average_precision: the area under its precision-recall curve; None where it has all rows or none.
    """

    name: str
    rows: int
    precision: float
    recall: float
    f1: float
    average_precision: float | None


class Known(NamedTuple):
    """Rows measured whose inputs are those of rows that the model was trained on.

    Args:
        looked_up: rows that were looked for: all, but for a model that knows only a sample of many.
        of: how many of them are in "train", and in "validation", which chose the epoch.
        shared: how many rows are in neither, but have a value there of one of the inputs `by`, such as a picture.
        by: the inputs whose values hardly repeat in training, so that each of them tells a row.
    """

    looked_up: int
    of: dict[str, int]
    shared: dict[str, int]
    by: list[str]


class Evaluated(NamedTuple):
    """A model measured on a table.

    Args:
        rows: of the table.
        measured: those with truth and an answer.
        without_truth: those whose truth is missing.
        unknown: rows that were left out because their truth cannot be taken, by the reason.
        skipped: rows with truth that were left out because of a value that cannot be used.
        missing: rows measured in which an input is missing, by input.
        metrics: by name.
        resamples: R, of rows, which are taken as independent: nobody named groups.
        classes: each class or label; empty of others.
        confusion: counts by true class (row) and predicted class (column), of labels [[TN, FP], [FN, TP]] each.
        unread: values that could not be used.
        absent: lines on columns that the model reads and the table lacks.
        known: rows measured that the model was trained on; None where it does not know its rows.
    """

    rows: int
    measured: int
    without_truth: int
    unknown: dict[str, int]
    skipped: int
    missing: dict[str, int]
    metrics: dict[str, Metric]
    resamples: int
    classes: list[OfClass]
    confusion: list[Any] | None
    unread: list[Unread]
    absent: list[str]
    known: Known | None = None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        whole = self._asdict()
        whole["metrics"] = {name: one._asdict() for name, one in self.metrics.items()}
        whole["classes"] = [one._asdict() for one in self.classes]
        whole["known"] = self.known and self.known._asdict()
        whole["unread"] = [one._asdict() for one in self.unread]
        return whole


class _Collected:
    """Predictions and truth of all samples, and what was left out."""

    def __init__(self, model: MultimodalModel) -> None:
        self.target = model.transforms.truth.target()
        self.predicted: list[Tensor] = []
        self.true: list[Tensor] = []
        self.losses: list[Tensor] = []
        self.answers: list[Any] = []
        self.truths: list[Any] = []

    def metrics(self) -> Metrics:
        """Those of predictions as tensors."""
        predicted, true = torch.cat(self.predicted), torch.cat(self.true)
        leaf, truth = leaves_of(self.target.kind)
        metrics = metrics_of(self.target, metric_names(self.target.kind))
        metrics.update({leaf: predicted}, {truth: true, "mask": torch.ones(len(true), dtype=torch.bool)})
        return metrics

    def of_answers(self, measures: Mapping[str, Measure]) -> Answers:
        """The metrics of answers as the user reads them."""
        losses = torch.cat(self.losses)
        known = torch.ones(len(losses), dtype=torch.bool)
        return Answers(measures, losses, known, self.truths, self.answers if measures else None)


@own_state()
def evaluate_table(
    model: MultimodalModel,
    stream: Stream,
    target: Sequence[str] = (),
    asked: Asked | None = None,
    *,
    progress: Progress = SILENT,
) -> Evaluated:
    """Measure a model on a labelled table.

    Args:
        model: trained.
        stream: the table.
        target: the columns that hold the truth; none are those of its training.
        asked: what to do with a value that cannot be used, and how many rows the model takes at once; rows whose truth
            cannot be taken are left out by "missing" and "skip". None fails at the first.
        progress: what is told of the rows, and of the draws of intervals.

    Raises:
        UsageError: the table has no such column.
        DataError: the table cannot be read, no row has truth, or a value cannot be used and `on_error` is "fail"; or
            more than half of a column or of an input cannot.
    """
    asked = asked or Asked()
    layout = layout_of(model, asked.decimal)
    known = _target_layout(model, layout, target, asked.decimal)
    names = model.transforms.truth.target().names
    found, unknown, absent = _truths(stream, layout, known, names, asked.on_error)
    collected, missing, skipped = _Collected(model), Counter[str](), 0
    unread: list[Unread] = []
    hashes: list[dict[str, Hashes]] = []
    broken = Broken()
    for piece in stream.pieces():
        mine = found[piece.start : piece.start + piece.rows]
        rows = rows_of(model, layout, stream, piece, asked.on_error, mine)
        unread += rows.unread
        broken.add(rows.values, rows.unread)
        missing.update(rows.missing)
        there = sum(truth is not None for truth in mine)
        skipped += there - sum(truth is not None for truth in rows.read.samples.truth)
        if model.trained_on is not None:
            hashes.append(hashes_of_inputs(rows.raw, model.inputs, model.trained_on.salt))
        if rows.read.data is not None:
            _collect(model, collected, rows.read.samples, rows.read.data, asked.batch_size)
        progress.update("rows", piece.start + piece.rows, len(found))
    broken.check(stream.name)
    measured = _evaluated(model, collected, found, unknown, skipped, dict(missing), unread, absent, progress)
    return measured._replace(known=_known(model.trained_on, hashes))


def _known(trained_on: TrainedOn | None, hashes: Sequence[Mapping[str, Hashes]]) -> Known | None:
    """How many rows of these hashes the model was trained on."""
    if trained_on is None:
        return None
    whole = {name: np.concatenate([part[name] for part in hashes]) for name in hashes[0]}
    found = trained_on.looked_up(together(whole))
    return Known(len(found), trained_on.counted(found), trained_on.sharing(whole), sorted(trained_on.inputs))


def _target_layout(
    model: MultimodalModel, layout: Layout, target: Sequence[str], decimal: str | None
) -> Mapping[str, Any]:
    """How the truth is read: as in training, from the columns that the user names, where they are others."""
    if len(set(target)) < len(target):
        raise UsageError(f"--target names a column twice: {', '.join(target)}")
    if layout.target is None:
        if not target:
            raise UsageError("which column holds the truth? --target COLUMN: the model was trained without a table")
        return plain_truth(target, model.target, decimal)
    before = layout.target["columns"]
    if not target or sorted(target) == sorted(before):  # a column of training holds its number, whatever the order
        return layout.target
    if len(before) != len(target):
        raise UsageError(f"--target: the model was trained to predict {', '.join(before)}; name as many columns")
    if kept := [name for name, one in zip(target, before, strict=True) if name in before and name != one]:
        raise UsageError(
            f"--target: the model predicts {', '.join(before)} in this order, each column stands for the one at its "
            f"place, and {kept[0]} stands elsewhere"
        )
    renamed = dict(zip(before, target, strict=True))
    numbers = {renamed[name]: one for name, one in layout.target["numbers"].items()}
    return {**layout.target, "columns": list(target), "numbers": numbers}


def _truths(
    stream: Stream, layout: Layout, known: Mapping[str, Any], names: Sequence[str], on_error: OnError
) -> tuple[list[Any], dict[str, int], list[str]]:
    """The truth of each row, reasons of what cannot be taken, and lines on columns that are not there."""
    found: list[Any] = []
    reasons: Counter[str] = Counter()
    first, example = -1, ""
    absent: dict[str, str] = {}
    for piece in stream.pieces():
        lacks = layout.absent(piece.columns, stream.name)
        if piece.start == 0:
            for column in known["columns"]:
                if not stream.has(column, piece):
                    raise UsageError(f"--target: {stream.name} has no column {column}; {one_of(piece.columns, column)}")
            layout.check(piece.columns, stream.name)
            absent = lacks
        absent = {name: line for name, line in absent.items() if name in lacks}
        gaps = {name: pa.chunked_array([pa.nulls(piece.rows)]) for name in known["columns"]}
        columns = {**gaps, **piece.columns}  # of JSON lines a piece may lack a column
        mine, wrong = truths(known, names, columns)
        found += mine
        reasons.update(wrong.values())
        if wrong and first < 0:
            first = piece.start + min(wrong)
            example = _example(known, columns, min(wrong))
    if reasons and on_error == "fail":
        shown = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(10))
        more = f", and {len(reasons) - 10} more" if len(reasons) > 10 else ""
        knows = f"; the model knows {', '.join(names[:20])}{' and more' if len(names) > 20 else ''}" if names else ""
        raise DataError(
            f"{stream.name}: the truth of {counted(reasons.total(), 'row')}, row {first} the first, cannot be taken: "
            f"{shown}{more}{example if known['kind'] == 'scalar' else knows}; --on-error skip leaves such rows out"
        )
    if not any(truth is not None for truth in found):
        why = "".join(f"; {count:,} left out: {reason}" for reason, count in reasons.most_common(3))
        raise DataError(f"{stream.name}: no row has truth in {', '.join(known['columns'])} that can be measured{why}")
    return found, dict(reasons), list(absent.values())


def _example(known: Mapping[str, Any], columns: Mapping[str, Any], row: int) -> str:
    """A cell of a row whose numbers cannot be taken, and what to write where its sign of fractions is the reason."""
    told = []
    for name in known["columns"]:
        cell = columns[name][row]
        cell = cell.as_py() if hasattr(cell, "as_py") else cell
        hint = decimal_hint(known["numbers"].get(name, {}), cell)
        told.append(f"; {name} is {cell!r:.40} there{'; ' * bool(hint)}{hint.removesuffix('; ')}")
    return next((one for one in told if "--decimal" in one), told[0])


def _collect(model: MultimodalModel, into: _Collected, samples: Samples, data: Any, batch_size: int) -> None:
    truth = model.transforms.truth
    start = 0
    tensors = measured_as_tensors(into.target.kind)
    if not tensors:
        losses, mask = losses_of_samples(model.network, data, model.precision, batch_size)
        into.losses.append(losses[mask])
    for prediction, true in predictions(model.module, data, model.precision, batch_size):
        mask = true["mask"]
        raw = samples.truth[start : (start := start + len(mask))]
        if not tensors:
            answers = truth.inverse(prediction)
            into.answers += [one for one, keep in zip(answers, mask.tolist(), strict=True) if keep]
            into.truths += [one for one in raw if one is not None]
        elif into.target.kind == "scalar":
            values = answered_numbers(truth.inverse(prediction))
            rows = [numbers_of(one) for one in raw if one is not None]
            into.predicted.append(values[mask])
            into.true.append(torch.tensor(rows, dtype=torch.float64).view(-1, into.target.size))
        else:
            leaf = "label" if into.target.kind == "classes" else "labels"
            into.predicted.append(prediction["probabilities"][mask])
            into.true.append(true[leaf][mask])


def _evaluated(
    model: MultimodalModel,
    collected: _Collected,
    found: Sequence[Any],
    unknown: dict[str, int],
    skipped: int,
    missing: dict[str, int],
    unread: list[Unread],
    absent: list[str],
    progress: Progress,
) -> Evaluated:
    without = sum(truth is None for truth in found) - sum(unknown.values())
    measured = len(found) - without - sum(unknown.values()) - skipped
    if not measured:
        raise DataError("no row with truth is left to measure; see why with --on-error fail")
    classes: list[OfClass] = []
    confusion = None
    kind = collected.target.kind
    whole: Metrics | Answers
    if measured_as_tensors(kind):
        whole = collected.metrics()
        again = whole.resampled
        resamples = draws_of(measured * collected.target.size)
        if kind != "scalar":
            confusion = whole.confusion()
            classes = _of_classes(whole, confusion)
    else:
        whole = collected.of_answers(measures_of(model.transforms.truth, kind))
        again = whole.drawn
        resamples = FEWER
    values = whole.compute()
    done = itertools.count(1)

    def draw(index: Tensor) -> dict[str, float | None]:
        found = {name: measure() for name, measure in again(index).items()}
        progress.update("draws of intervals", next(done), resamples)
        return found

    drawn = drawn_anew(measured, resamples, draw)
    ends = {name: interval(numbers) for name, numbers in drawn.items()}
    metrics = {name: Metric(value, *ends.get(name, ())) for name, value in values.items()}
    return Evaluated(
        len(found), measured, without, unknown, skipped, missing, metrics, resamples, classes, confusion, unread, absent
    )


def _of_classes(measured: Metrics, confusion: Sequence[Any]) -> list[OfClass]:
    cells = torch.tensor(confusion, dtype=torch.float64)
    if measured.target.kind == "classes":
        tp = cells.diagonal()
        counts = (tp, cells.sum(0) - tp, cells.sum() - cells.sum(0) - cells.sum(1) + tp, cells.sum(1) - tp)
    else:
        (tn, fp), (fn, tp) = cells[:, 0].T, cells[:, 1].T
        counts = (tp, fp, tn, fn)
    support = counts[0] + counts[3]
    recall, precision, f1 = (one.tolist() for one in rates(torch.stack((*counts, support), -1)))
    rows = support.long().tolist()
    areas = measured.of_each("average_precision_macro")
    return [OfClass(*one) for one in zip(measured.target.names, rows, precision, recall, f1, areas, strict=True)]
