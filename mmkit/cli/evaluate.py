"""`mmkit evaluate`: a saved model measured on a labelled table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import Annotated

import typer
from rich.cells import cell_len

from mmkit.cli.process import prepare
from mmkit.cli.results import print_json
from mmkit.cli.saved_model import (
    AnyFolder,
    BatchSize,
    Decimal,
    Device,
    Files,
    OnError,
    Outside,
    Rows,
    Threads,
    folder_of,
    load,
)
from mmkit.cli.setting import catalog, setting
from mmkit.cli.unread import tell_unread
from mmkit.experiments.measuring import Evaluated, Metric, OfClass, evaluate_table
from mmkit.model.answers import Asked
from mmkit.report.labels import plain
from mmkit.report.values import is_share, written
from mmkit.sources.streaming import stream_of
from mmkit.sources.target_names import columns_in
from mmkit.sources.wrapping import cut, wrapped
from mmkit.system.bars import Bars
from mmkit.titles import counted, title_of

WIDTH, NARROW = 80, 24
MANY = 12
"""More classes have no confusion matrix here; `--json` has it."""


def evaluate(
    ctx: typer.Context,
    model: AnyFolder,
    data: Rows,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN[,COLUMN]", help="Column with the truth. [the one that the model learnt]"),
    ] = None,
    on_error: OnError = "fail",
    batch_size: BatchSize = 256,
    device: Device = "auto",
    threads: Threads = None,
    files: Files = None,
    outside: Outside = False,
    decimal: Decimal = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a saved model on labelled rows: all metrics with intervals, each class, and what was left out.

    The truth is read from the column that the model was trained to predict, or from --target. Rows that the model was
    trained on are counted, as far as it knows them: figures of such rows speak of memory.
    """
    prepare(threads)
    installed = catalog(ctx)
    model = folder_of(model)
    loaded = load(model, installed, device)
    stream = stream_of(data, installed, files=files, outside=outside)
    columns = columns_in(target, next(stream.pieces()).columns) if target else ()
    asked = Asked((), on_error, batch_size, decimal)  # type: ignore[arg-type]  # checked there
    with redirect_stdout(sys.stderr), Bars(tracebacks=setting(ctx).traceback) as progress:
        found = evaluate_table(loaded, stream, columns, asked, progress=progress)
    for line in found.absent:
        print(f"mmkit: {line}", file=sys.stderr)
    tell_unread([f"row {row}, {column}: {reason}" for row, column, reason in found.unread], on_error)
    if as_json:
        print_json({"model": str(model), "data": stream.name, **found.document()})
    else:
        print("\n".join(lines(stream.name, found)))


def lines(name: str, found: Evaluated) -> Iterator[str]:
    """What was found, as lines."""
    yield f"{name}: {found.measured:,} of {counted(found.rows, 'row')} measured"
    reasons = {"the truth is missing": found.without_truth, "a value cannot be used": found.skipped, **found.unknown}
    for reason, count in reasons.items():
        if count:
            yield f"  {count:,} left out: {reason}"
    for line in _trained_on(found):
        yield from wrapped(f"  {line}", WIDTH, "    ")
    gaps = ", ".join(f"{one} {count:,}" for one, count in found.missing.items() if count)
    if gaps:
        yield f"rows in which an input is missing: {gaps}"
    yield ""
    yield from _metrics(found)
    if found.classes:
        yield ""
        yield from _classes(found.classes)
    if found.confusion and isinstance(found.confusion[0][0], int):
        yield ""
        yield from _confusion([one.name for one in found.classes], found.confusion)


def _trained_on(found: Evaluated) -> Iterator[str]:
    """Which of the rows the model knows from its training."""
    if (known := found.known) is None:
        yield "not known: whether the model was trained on some of them, as it keeps no hashes of its rows"
        return
    which = "of them"
    if known.looked_up < found.measured:
        which = f"of {known.looked_up:,} that could be looked up, as the model knows a sample of its rows,"
    if count := known.of["train"]:
        yield f"{count:,} {which} have the inputs of rows in the training split: there the figures speak of memory"
    if count := known.of.get("validation", 0):
        yield f"{count:,} {which} have the inputs of rows in the validation split, which chose the epoch"
    for split, count in known.shared.items():
        if count:
            least = "at least " if known.looked_up < found.measured else ""
            yield (
                f"{least}{count:,} others have the {' or '.join(known.by)} of rows in the {split} split, beside other "
                "values or none: likely the same samples"
            )
    if found.absent:
        yield (
            f"{counted(len(found.absent), 'column')} that the model reads {'is' if len(found.absent) == 1 else 'are'} "
            "not there: a row that had a value in training is not known by its inputs together"
        )


def _metrics(found: Evaluated) -> Iterator[str]:
    rows = [("metric", "value", "95 % interval")]
    for name, one in found.metrics.items():
        rows.append((title_of(name), _figure(one.value, name), _interval(one, name)))
    yield from _aligned(rows)
    shares = "shares in percent; " if any(map(is_share, found.metrics)) else ""
    yield f"{shares}intervals over {found.resamples:,} draws of the rows, not over trainings"
    yield "rows count as independent: too narrow where several are of one person or source"


def _figure(value: float | None, name: str) -> str:
    return "-" if value is None else written(value, name)


def _interval(one: Metric, name: str) -> str:
    return "-" if one.low is None or one.high is None else f"{written(one.low, name)} to {written(one.high, name)}"


def _classes(classes: Sequence[OfClass]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("class", "rows", "precision", "recall", "F1", "average precision")]
    for one in classes:
        shares = (one.precision, one.recall, one.f1) if one.rows else (None, None, None)
        cells = ("-" if share is None else f"{100 * share:.1f}" for share in (*shares, one.average_precision))
        rows.append((_short(one.name), f"{one.rows:,}", *cells))
    yield from _aligned(rows)


def _confusion(names: Sequence[str], counts: Sequence[Sequence[int]]) -> Iterator[str]:
    """The matrix, with numbers of classes above where their names take too much room."""
    above = [_short(name) for name in names]
    widths = list(map(cell_len, above))
    room = max(widths) + sum(max(width, 5) + 2 for width in widths)
    if len(names) > MANY:
        yield f"confusion of {len(names)} classes: --json has it"
        return
    if room > WIDTH:
        above = [str(number) for number in range(1, len(names) + 1)]
    side = [f"{number} {_short(name)}" if room > WIDTH else _short(name) for number, name in enumerate(names, 1)]
    yield "confusion: a row is the truth, a column what it was taken for"
    yield from _aligned([("", *above), *((one, *map(str, row)) for one, row in zip(side, counts, strict=True))])


def _short(name: str) -> str:
    return cut(plain(name), NARROW)


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows with the first column to the left and the others to the right."""
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for first, *others in rows:
        cells = (" " * (width - cell_len(cell)) + cell for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first + " " * (widths[0] - cell_len(first)), *cells]).rstrip()
