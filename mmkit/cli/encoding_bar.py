"""How far a frozen encoder is."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


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
