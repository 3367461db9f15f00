"""The options by which every command takes a user's own data, and the task that they make.

Nothing here imports what reads data: a command that is given none pays nothing for it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mmkit.errors import UsageError
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice

Data = Annotated[str | None, typer.Option(metavar="PATH", help="Own data: a table, or a folder; see `mmkit data`.")]
Target = Annotated[str | None, typer.Option(metavar="COLUMN[,COLUMN]", help="Column of --data to predict.")]
TargetKind = Annotated[str | None, typer.Option(metavar="classes|labels|scalar|text", help="How to read --target.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=KIND",
        help="What a column is: a modality, number, category, date, date:dayfirst, numbers, tags, ignore; repeatable.",
    ),
]
Group = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", help="Rows of one value stay in one split; repeatable.")
]
Time = Annotated[str | None, typer.Option(metavar="COLUMN", help="Train on the earliest rows, test on the latest.")]
Id = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="Column that names each row. [its number]")]
SplitSeed = Annotated[int | None, typer.Option(help="Seed of the splits of --data. [0]")]
Splits = Annotated[
    str | None, typer.Option(metavar="SHARES|COLUMN|test=FILE", help="Splits: shares, a column, or files. [60/15/25]")
]
Files = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where names of files in cells begin. [the folder of the table]")
]
Outside = Annotated[bool | None, typer.Option("--outside", help="Allow files outside of that folder.")]
Deep = Annotated[
    bool | None, typer.Option("--deep", help="Read every value before training; keep near copies of pictures together.")
]

OPTIONS = (
    "data", "target", "target_kind", "column", "group", "time", "id", "split_seed", "splits", "files", "outside",
    "deep",
)  # fmt: skip
"""The names of these options."""


def options_of_data(given: dict[str, Any]) -> dict[str, Any]:
    """The options of the task `own-data`, from those of a command line that were given.

    Raises:
        UsageError: --column is not NAME=KIND.
    """
    options = {key: given[key] for key in OPTIONS if given.get(key) not in (None, [])}
    if "column" in options:
        options["columns"] = _kinds(options.pop("column"))
    return options


def named_task(ctx: typer.Context, task: str | None, data: str | None) -> str | None:
    """The task of the command line; that of the environment gives way to --data."""
    source = ctx.get_parameter_source("task")
    return None if data is not None and source is not None and source.name == "ENVIRONMENT" else task


def task_of(catalog: Catalog, task: str | None, given: dict[str, Any]) -> str | Choice | None:
    """The task: the one that was named, or that of a user's own data; None where neither is given.

    Raises:
        UsageError: both, or an option of data without data.
    """
    options = options_of_data(given)
    if "data" not in options:
        if options:
            flag = next(iter(options)).replace("_", "-").replace("columns", "column")
            raise UsageError(f"--{flag} says something of --data, which is not given")
        return task
    if task is not None:
        raise UsageError(f"--task {task} and --data {options['data']} are two tasks; give one of them")
    return catalog.choose("task", "own-data", options)


def tell_data(task: str | Choice) -> None:
    """Show on stderr what was found in a user's own data, if the task is that."""
    if isinstance(task, Choice) and hasattr(task.component, "told"):
        print(task.component(**task.part(task.component)).told(width()), file=sys.stderr)


def width() -> int:
    """The width of the terminal; 80 where there is none."""
    return max(shutil.get_terminal_size((80, 24)).columns, 60)


def _kinds(texts: Sequence[str]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for text in texts:
        name, equals, kind = text.rpartition("=")
        if not (equals and name and kind.strip()):
            raise UsageError(f"--column takes NAME=KIND; got {text}")
        if name in kinds:
            raise UsageError(f"--column {name} is given twice; give it once")
        kinds[name] = kind.strip()
    return kinds
