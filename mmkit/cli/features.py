"""What commands on frozen features share: the console of results, a bar, threads, and what could not be read."""

from __future__ import annotations

import sys
from types import TracebackType

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from mmkit.allocator import keep_large_blocks
from mmkit.errors import UsageError


def prepare(threads: int | None) -> None:
    """Set the threads, and keep large blocks of memory."""
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads takes 1 or more; got {threads}")
        torch.set_num_threads(threads)
    keep_large_blocks()


def results() -> tuple[Console, Table]:
    """The console of stdout, which crops nothing where nobody looks, and an empty table for it."""
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else 10_000, no_color=not terminal, highlight=False)
    return console, Table(box=box.SIMPLE_HEAD if terminal else None, padding=(0, 1 if terminal else 2), pad_edge=False)


def share(value: float | None) -> str:
    """A share of 1 in per cent."""
    return "-" if value is None else f"{100 * value:.1f}"


class EncodingBar:
    """A bar on stderr, on a terminal: samples of which features are computed."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.bar: TaskID | None = None

    def __enter__(self) -> EncodingBar:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def __call__(self, name: str, done: int, samples: int) -> None:
        """So many of so many samples of an input are done."""
        if self.bar is None:
            self.bar = self.progress.add_task("")
        self.progress.update(self.bar, description=f"features of {name}", completed=done, total=samples)
