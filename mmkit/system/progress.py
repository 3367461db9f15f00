"""The progress protocol: what long-running code reports to, and an implementation that shows nothing."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Self


class Progress:
    """Receives reports of progress. This class shows nothing, except that `warn` gives a Python warning.

    A context manager: when it ends, what it shows disappears.

    Attributes:
        shows: whether somebody may see the reports; where nobody does, nothing is measured for their sake.
    """

    shows = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def stage(self, what: str) -> None:
        """Report that `what` begins: a run, a measurement."""

    def update(self, what: str, done: int, total: int | None = None) -> None:
        """Report how many of `what` ("runs", "epochs", "features of image") are done, of how many if known."""

    def remaining(self, seconds: float) -> None:
        """Report how long all runs will still take, as far as one can tell."""

    def finished(self, what: str, *, ok: bool = True) -> None:
        """Report in a line that a run has ended, and with what."""

    def failed(self, error: Exception) -> None:
        """Report why a run failed, before its end is reported; the others go on."""

    def note(self, message: str) -> None:
        """Report something that may interest the user."""

    def warn(self, message: str) -> None:
        """Report something that the user should know; work goes on."""
        warnings.warn(message, stacklevel=3)


class _Silent(Progress):
    shows = False


class _Mute(_Silent):
    def warn(self, message: str) -> None:
        """Say nothing: the first of several processes warns."""


SILENT = _Silent()
MUTE = _Mute()
"""That of a process whose like reports the same."""
