"""What a suite keeps when it ends before its time, in words: interrupted, or where its folder cannot be written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmkit.errors import MmkitError, UsageError
from mmkit.system.progress import Progress


class Kept:
    """How far a suite has come.

    Args:
        folder: of the suite.
        runs: that it will have.
        finished: of them.
    """

    def __init__(self, folder: Path, runs: int, finished: int = 0) -> None:
        self.folder = folder
        self.runs = runs
        self.finished = finished

    @property
    def sentence(self) -> str:
        """What is kept, and how to go on."""
        return (
            f"{self.finished} of {self.runs} runs are finished and kept in {self.folder}; the same command with "
            f"--out {shlex.quote(str(self.folder))} goes on there"
        )

    @contextmanager
    def told(self, progress: Progress) -> Iterator[None]:
        """Tell it where the user interrupts."""
        try:
            yield
        except KeyboardInterrupt:
            progress.note(self.sentence)
            raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Tell it where the folder cannot be written to any more.

        Raises:
            MmkitError: in place of an OSError.
            UsageError: a model cannot be saved.
        """
        try:
            yield
        except UsageError as error:  # of a model's folder
            raise UsageError(f"{error}; {self.sentence}") from error
        except OSError as error:
            raise MmkitError(f"cannot write to {self.folder}: {error.strerror or error}; {self.sentence}") from error
