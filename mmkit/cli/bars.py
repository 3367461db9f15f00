"""Bars on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mmkit.record import Record
from mmkit.run import Run
from mmkit.suite import Watcher


class EncodingBar:
    """How far a frozen encoder is: samples of which features are computed."""

    def __init__(self) -> None:
        self.progress = _progress()
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


class SuiteBars(Watcher):
    """How far a suite is: its runs, and the epochs of one; what has to be said is said without bars as well."""

    def __init__(self) -> None:
        self.progress = _progress()
        self.runs: TaskID | None = None
        self.epochs: TaskID | None = None

    def __enter__(self) -> SuiteBars:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def planned(self, runs: int, found: int) -> None:
        """Bars appear."""
        if found:
            print(f"mmkit: {found} of {runs} runs are there already", file=sys.stderr)
        self.runs = self.progress.add_task("runs", total=runs, completed=found)

    def measuring(self, what: str) -> None:
        """The bar says what is measured."""
        if self.runs is not None:
            self.progress.update(self.runs, description=what)

    def started(self, run: Run) -> None:
        """The bars say which run."""
        if self.runs is not None:
            self.progress.update(self.runs, description=f"{run.combination.label}, seed {run.seed}")
        self.epochs = self.progress.add_task("epochs", total=None)

    def encoding(self, name: str, done: int, samples: int) -> None:
        """The lower bar counts samples."""
        if self.epochs is not None:
            self.progress.update(self.epochs, description=f"features of {name}", completed=done, total=samples)

    def noted(self, message: str) -> None:
        """Said at once."""
        print(f"mmkit: {message}", file=sys.stderr)

    def epoch(self, done: int, planned: int) -> None:
        """The lower bar moves."""
        if self.epochs is not None:
            self.progress.update(self.epochs, description="epochs", completed=done, total=planned)

    def finished(self, record: Record) -> None:
        """The upper bar moves; a failure is said at once."""
        if self.epochs is not None:
            self.progress.remove_task(self.epochs)
        if self.runs is not None:
            self.progress.advance(self.runs)
        if record["status"] != "ok":
            print(f"mmkit: {record['fusion']}, seed {record['seed']} failed; why stands at the end", file=sys.stderr)


def _progress() -> Progress:
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
