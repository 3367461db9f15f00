"""The options by which every command takes a user's own data, and the task that they make.

Nothing here imports what reads data: a command that is given none pays nothing for it.
"""

from __future__ import annotations

import functools
import inspect
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any

import typer

from mmkit.errors import UsageError
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice

_Text = str | None
_Several = list[str] | None


def _option(kind: Any, *names: str, **settings: Any) -> Any:
    return Annotated[kind, typer.Option(*names, **settings)]


OPTIONS: dict[str, Any] = {
    "data": _option(_Text, metavar="PATH", help="Own data: a table, or a folder; see `mmkit data`."),
    "target": _option(_Text, metavar="COLUMN[,COLUMN]", help="Column of --data to predict."),
    "target_kind": _option(_Text, metavar="classes|labels|scalar|text", help="How to read --target."),
    "column": _option(
        _Several,
        metavar="NAME=KIND",
        help="What a column is: a modality, number, category, date, date:dayfirst, numbers, tags, ignore; repeatable.",
    ),
    "group": _option(_Several, metavar="COLUMN", help="Rows of one value stay in one split; repeatable."),
    "time": _option(_Text, metavar="COLUMN", help="Train on the earliest rows, test on the latest."),
    "id": _option(_Text, metavar="COLUMN", help="Column that names each row. [its number]"),
    "split_seed": _option(int | None, help="Seed of the splits of --data. [0]"),
    "splits": _option(_Text, metavar="SHARES|COLUMN|test=FILE", help="Splits: shares, a column, or files. [60/15/25]"),
    "files": _option(_Text, metavar="DIR", help="Where names of files in cells begin. [the folder of the table]"),
    "outside": _option(bool | None, "--outside", help="Allow files outside of that folder."),
    "deep": _option(
        bool | None, "--deep", help="Read every value before training; keep near copies of pictures together."
    ),
    "folds": _option(int | None, metavar="K", help="Test every row once, in K folds, for tables of few rows. [none]"),
}
"""The options, each as typer reads it, by name. Without a value each is None."""

COMPARED = ("folds",)
"""Those of commands alone that compare models, or show what would be compared."""

FIRST = ("data", "target")
"""Those that stand where the command takes its data; the others are further down its page."""

_ARGUMENT = Annotated[str, typer.Argument(metavar="PATH", help="A table, or a folder.")]


@dataclass(frozen=True)
class OwnDataOptions:
    """What the user says of own data on the command line.

    Args:
        given: those of `OPTIONS` that the command takes, by name; None or [] where it is not given.
    """

    given: Mapping[str, Any]

    def among(self, chosen: Mapping[str, Any]) -> OwnDataOptions:
        """The same options as a command has them after a configuration file was read."""
        return OwnDataOptions({name: chosen[name] for name in self.given})

    def options(self) -> dict[str, Any]:
        """The options of the task `own-data`, of those that are given.

        Raises:
            UsageError: --column is not NAME=KIND.
        """
        options = {name: value for name, value in self.given.items() if value not in (None, [])}
        if "column" in options:
            options["columns"] = _kinds(options.pop("column"))
        return options

    def task(self, catalog: Catalog, task: str | None) -> str | Choice | None:
        """The task: the one that was named, or that of the user's own data; None where neither is given.

        Raises:
            UsageError: both, or an option of data without data.
        """
        options = self.options()
        if "data" not in options:
            if options:
                flag = next(iter(options)).replace("_", "-").replace("columns", "column")
                raise UsageError(f"--{flag} says something of --data, which is not given")
            return task
        if task is not None:
            raise UsageError(f"--task {task} and --data {options['data']} are two tasks; give one of them")
        return catalog.choose("task", "own-data", options)


def takes_own_data(
    *, before: str = "", argument: bool = False, compares: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of own data; it gets them as one parameter, whose type is `OwnDataOptions`.

        @takes_own_data(before="device")
        def retrieve(ctx: typer.Context, own: OwnDataOptions, device: ...) -> None: ...

    Args:
        before: the parameter of the command that the options stand before, apart from `FIRST`, which stand in the
            place of `own`; empty is right after these.
        argument: --data is the command's argument, without a name.
        compares: it takes those of `COMPARED`, too.
    """

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        (own,) = (one.name for one in signature.parameters.values() if one.annotation is OwnDataOptions)
        added = {
            name: Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in OPTIONS.items()
            if compares or name not in COMPARED
        }
        taken = list(added)
        if argument:
            added["data"] = Parameter("data", Parameter.KEYWORD_ONLY, annotation=_ARGUMENT)
        first = [added.pop(name) for name in FIRST]
        parameters: list[Parameter] = []
        for one in signature.parameters.values():
            if one.name == before:
                parameters += added.values()
            if one.name != own:
                parameters.append(one.replace(kind=Parameter.KEYWORD_ONLY))
                continue
            parameters += first if before else [*first, *added.values()]

        @functools.wraps(command)
        def called(**given: Any) -> None:
            options = OwnDataOptions({name: given.pop(name) for name in taken})
            command(**given, **{own: options})

        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
        return called

    return taking


def named_task(ctx: typer.Context, task: str | None, own: OwnDataOptions) -> str | None:
    """The task of the command line; that of the environment gives way to --data."""
    source = ctx.get_parameter_source("task")
    return None if own.given["data"] is not None and source is not None and source.name == "ENVIRONMENT" else task


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
