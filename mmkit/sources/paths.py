"""Where the files of a column are: inside the folder that was named, and nothing but plain files.

Standard library alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

State = Literal["file", "missing", "outside", "other", "remote", "invalid"]
"""A plain file; nothing; a path that leaves the folder; a folder, device, FIFO or socket; a URL; no path at all."""


def located(name: str, files: Path, *, outside: bool = False) -> tuple[Path, State]:
    """The path that a cell names, links followed, and what is there. Nothing is opened.

    Args:
        name: as the cell has it; `~` is no home.
        files: the folder where relative names begin.
        outside: True where a path may leave the folder.
    """
    raise NotImplementedError
