"""A saved model for a command: the options that say on which rows it runs and how, and loading it."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from mmkit.model.trained import HUB, MultimodalModel
from mmkit.registry.catalog import Catalog

Folder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model, or hub:OWNER/NAME.")]
AnyFolder = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder of a saved or an exported model, or hub:OWNER/NAME.")
]
Rows = Annotated[str, typer.Option("--data", metavar="PATH", help="Rows: a table, or a folder.")]
OnError = Annotated[str, typer.Option(help="If a value cannot be used: fail, missing (the value) or skip (its row).")]
BatchSize = Annotated[int, typer.Option(help="Rows that the model takes at once.")]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda or mps.", envvar="MMKIT_DEVICE")]
Threads = Annotated[int | None, typer.Option(help="CPU threads. [one per core]", envvar="MMKIT_THREADS")]
Files = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where names of files in cells begin. [the folder of the table]")
]
Decimal = Annotated[
    str | None, typer.Option(metavar="point|comma", help="Sign of fractions in the numbers. [as in training]")
]
Outside = Annotated[bool, typer.Option("--outside", help="Allow files outside of that folder.")]


def folder_of(given: Path) -> Path:
    """The folder of a model that was named on the command line; that of the hub's cache for hub:OWNER/NAME.

    Raises:
        UsageError: it is no name of a repository.
        DataError: there is none, or it is not to be had.
    """
    if not str(given).startswith(HUB):
        return given
    with _told():
        found: Path = importlib.import_module("mmkit.sharing.fetching").located(given)  # a start does without the hub
    return found


def load(directory: Path, catalog: Catalog, device: str) -> MultimodalModel:
    """The model in a folder; what there is to know of it is told on stderr.

    Raises:
        DataError: the folder holds no model, or one that is damaged or was changed.
        UnavailableError: a plugin or a device that it needs is not available.
    """
    with _told():
        return MultimodalModel.load(directory, catalog=catalog, device=device)


@contextmanager
def _told() -> Iterator[None]:
    """Warnings as lines on stderr, and there what components print."""
    with warnings.catch_warnings(record=True) as told, redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        yield
    for one in told:
        print(f"mmkit: {one.message}", file=sys.stderr)
