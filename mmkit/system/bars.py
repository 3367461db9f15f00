"""Progress bars on a terminal; those of a notebook are in `system.notebook`."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from mmkit.system.progress import Progress
from mmkit.system.times import in_words


class Bars(Progress):
    """Shows bars on stderr if that is a terminal, else a line for each finished run. Messages are lines in any case.

    Args:
        tracebacks: whether the traceback of a run that failed is shown.
    """

    def __init__(self, *, tracebacks: bool = False) -> None:
        self._tracebacks = tracebacks
        console = Console(stderr=True, highlight=False, force_jupyter=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._bars = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def stage(self, what: str) -> None:
        """Show `what` as the title of the bar of runs."""
        if "runs" not in self._tasks:
            self._tasks["runs"] = self._bars.add_task(what, total=None, left="")
        self._bars.update(self._tasks["runs"], description=what)

    def update(self, what: str, done: int, total: int | None = None) -> None:
        """Show a bar for `what` until all is done; the bar of runs stays."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, left="")
        self._bars.update(self._tasks[what], completed=done, total=total)
        if done == total and what != "runs":
            self._bars.remove_task(self._tasks.pop(what))

    def remaining(self, seconds: float) -> None:
        """Show it behind the bar of runs."""
        if "runs" in self._tasks:
            self._bars.update(self._tasks["runs"], left=f"{in_words(seconds)} left")

    def finished(self, what: str, *, ok: bool = True) -> None:
        """Print a line where no bar shows it, or where the run failed."""
        if self._bars.disable or not ok:
            self.note(what)

    def failed(self, error: Exception) -> None:
        """Print the traceback if it is wanted."""
        if self._tracebacks:
            traceback.print_exception(error)

    def note(self, message: str) -> None:
        """Print a line on stderr."""
        print(f"mmkit: {message}", file=sys.stderr)

    def warn(self, message: str) -> None:
        """Print a line on stderr."""
        self.note(message)
