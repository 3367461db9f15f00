"""Progress in a notebook, by the browser's own bars: no widget has to be installed."""

from __future__ import annotations

import sys
import time
import uuid
from html import escape
from types import TracebackType
from typing import Any, Self

from mmkit.system.progress import Progress
from mmkit.system.times import in_words

INTERVAL = 0.2
"""Seconds between two pictures of the bars, unless a stage begins."""


def in_notebook() -> bool:
    """True where a Jupyter kernel runs this, which shows what it is given as HTML."""
    return getattr(_shell(), "kernel", None) is not None


class NotebookBars(Progress):
    """One output that changes in place, and is empty at the end; messages are lines on stderr."""

    def __init__(self) -> None:
        self._bars: dict[str, tuple[str, int, int | None]] = {}  # description, done, total
        self._id = uuid.uuid4().hex
        self._began = self._drawn = 0.0
        self._left = ""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._drawn:
            self._publish("")

    def stage(self, what: str) -> None:
        """The bar of the runs says so."""
        _, done, total = self._bars.get("runs", (what, 0, None))
        self._bars["runs"] = (what, done, total)
        self._draw(soon=True)

    def update(self, what: str, done: int, total: int | None = None) -> None:
        """A bar for each, until all are done; that of the runs stays."""
        self._bars[what] = (self._bars.get(what, (what, 0, None))[0], done, total)
        if done == total and what != "runs":
            del self._bars[what]
        self._draw()

    def remaining(self, seconds: float) -> None:
        """Behind the time that has passed."""
        self._left = f", {in_words(seconds)} left"
        self._draw()

    def finished(self, what: str, *, ok: bool = True) -> None:
        """A line where the run failed."""
        if not ok:
            self.note(what)

    def note(self, message: str) -> None:
        """A line on stderr."""
        print(f"mmkit: {message}", file=sys.stderr)

    def warn(self, message: str) -> None:
        """A line on stderr."""
        self.note(message)

    def _draw(self, *, soon: bool = False) -> None:
        now = time.monotonic()
        if self._drawn and now - self._drawn < INTERVAL and not soon:
            return
        minutes, seconds = divmod(int(now - self._began), 60)
        lines = "".join(_bar(*bar) for bar in self._bars.values())
        self._publish(f"<table>{lines}</table><small>{minutes}:{seconds:02}{self._left}</small>")
        self._drawn = now

    def _publish(self, text: str) -> None:
        """Show this as HTML in the place of what was shown before."""
        _shell().display_pub.publish(
            {"text/html": text, "text/plain": ""}, transient={"display_id": self._id}, update=bool(self._drawn)
        )


def _bar(description: str, done: int, total: int | None) -> str:
    # Without a value the browser draws a bar that moves: how much is left is not known.
    known = "" if total is None else f' value="{done}" max="{total}"'
    count = f"{done}" if total is None else f"{done}/{total}"
    left = 'style="text-align:left"'
    return f"<tr><td {left}>{escape(description)}</td><td><progress{known}></progress></td><td>{count}</td></tr>"


def _shell() -> Any:
    """The running IPython, which has imported itself; None outside of it."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None
