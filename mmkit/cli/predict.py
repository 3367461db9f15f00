"""`mmkit predict`: the answers of a saved model to the rows of a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import torch
import typer

from mmkit.cli.process import prepare
from mmkit.cli.saved_model import AnyFolder, BatchSize, Decimal, Device, Files, OnError, Outside, Rows, folder_of, load
from mmkit.cli.setting import catalog, setting
from mmkit.cli.unread import tell_unread
from mmkit.model.answer_files import Job, check_out, threads_of, write_answers
from mmkit.model.answer_joining import Summary
from mmkit.model.answers import Asked, number_names
from mmkit.model.description import unchanged
from mmkit.model.trained import MultimodalModel
from mmkit.sources.streaming import Stream, stream_of
from mmkit.system.bars import Bars
from mmkit.system.executors.choosing import executor_of, workers_of
from mmkit.system.files import at_home
from mmkit.system.settings import Settings
from mmkit.titles import counted


def predict(
    ctx: typer.Context,
    model: AnyFolder,
    data: Rows,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Answers: .parquet, .csv, .tsv, .jsonl or .arrow.")],
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN[,COLUMN]", help="Columns to copy beside the answers; repeatable."),
    ] = None,
    on_error: OnError = "fail",
    batch_size: BatchSize = 256,
    device: Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads of each part. [one per core; cores / workers]", envvar="MMKIT_THREADS"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Parts to answer at once, each in a process of its own. [1]")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="processes|ray",
            help="Where parts are answered: ray takes the cluster at RAY_ADDRESS, else starts one here. [processes]",
        ),
    ] = None,
    files: Files = None,
    outside: Outside = False,
    decimal: Decimal = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE, and begin anew.")] = False,
) -> None:
    """Answer the rows of a table with a saved model.

    Columns are read by their names, as in training; of those that are not there, all values are missing. The answers
    stand in the order of the rows, whatever --workers says. A call that was interrupted, even killed, goes on where it
    stopped.
    """
    out, at_once = at_home(out), workers_of(engine, workers, threads)
    check_out(out, data)
    prepare(threads_of(threads, at_once, out))
    installed = catalog(ctx)
    model = folder_of(model)
    with unchanged(at_home(model)) as digest:
        loaded = load(model, installed, device)
    stream = stream_of(data, installed, files=files, outside=outside)
    job = Job(
        loaded,
        at_home(model),
        digest,
        installed,
        stream,
        Asked(tuple(included(include or (), stream)), on_error, batch_size, decimal),  # type: ignore[arg-type]  # checked there
        out,
        force,
    )
    executor = executor_of(engine, at_once, Settings(loaded.device.type, threads=torch.get_num_threads()))
    began = time.perf_counter()
    try:
        with redirect_stdout(sys.stderr), Bars(tracebacks=setting(ctx).traceback) as progress:
            summary = write_answers(job, progress, executor)
    except KeyboardInterrupt:
        _tell_how_to_go_on(job)
        raise
    _tell(summary, on_error, time.perf_counter() - began)
    _tell_numbers(loaded)


def _tell_numbers(model: MultimodalModel) -> None:
    """Of which columns of training the numbers in the answers are."""
    target = (model.layout or {}).get("target") or {"kind": "", "columns": ()}
    names = target["columns"]
    if target["kind"] != "scalar" or not names:
        return
    size = model.transforms.truth.target().size
    if len(names) > 1:
        told = ", ".join(f"{one} is {name}" for one, name in zip(number_names(target).values(), names, strict=True))
    else:
        told = f"value is {names[0]}" if size == 1 else f"value_0 to value_{size - 1} are {names[0]}"
    print(f"mmkit: in the answers {told}", file=sys.stderr)


def included(given: Iterable[str], stream: Stream) -> Iterator[str]:
    """The columns that are asked for: several with commas between them, but for a column that has commas in its name.

    Args:
        given: as on the command line.
        stream: the table.
    """
    for text in given:
        if "," in text and text not in next(stream.pieces()).columns:
            yield from (part.strip() for part in text.split(",") if part.strip())
        else:
            yield text


def _tell_how_to_go_on(job: Job) -> None:
    if done := len(job.done()):
        print(f"mmkit: {done} parts of the answers are in {job.parts}; the same command goes on", file=sys.stderr)


def _tell(summary: Summary, on_error: str, seconds: float) -> None:
    values = [f"row {row}, {column}: {reason}" for row, column, reason in summary.first_unread]
    tell_unread(values, on_error, str(summary.unread_in), count=summary.unread)
    for name, rows in summary.absent.items():
        if rows < summary.rows:  # what is never there was said at the beginning
            print(f"mmkit: column {name} is not there in {rows:,} of {counted(summary.rows, 'row')}", file=sys.stderr)
    gaps = ", ".join(f"{name} {count:,}" for name, count in summary.missing.items() if count)
    if gaps:
        print(f"mmkit: rows in which an input is missing: {gaps}", file=sys.stderr)
    answered = summary.rows - summary.skipped
    left = f" ({summary.skipped:,} without an answer)" if summary.skipped else ""
    print(f"{summary.out}: {counted(answered, 'answer')} to {counted(summary.rows, 'row')}{left} in {seconds:.1f} s")
