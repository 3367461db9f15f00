"""How far something is: the one protocol that everything long-running speaks, and the one that shows nothing."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Self


class Progress:
    """Told what is going on. This one shows nothing; what the user should know of becomes a Python warning.

    A context: at its end nothing is shown any more.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def stage(self, what: str) -> None:
        """`what` begins: a run, a measurement."""

    def update(self, what: str, done: int, total: int | None = None) -> None:
        """So many of `what` ("runs", "epochs", "features of image") are done, of so many in all where that is known."""

    def note(self, message: str) -> None:
        """Something that may be worth knowing."""

    def warn(self, message: str) -> None:
        """Something that the user should know, and that stops nothing."""
        warnings.warn(message, stacklevel=3)


SILENT = Progress()
