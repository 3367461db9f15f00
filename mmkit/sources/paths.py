"""Where the files of a column are: inside the folder that was named, and nothing but plain files.

Standard library alone.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

State = Literal["file", "missing", "outside", "other", "remote", "invalid"]
"""A plain file; nothing; a path that leaves the folder; a folder, device, FIFO or socket; a URL; no path at all."""

REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""How a value begins that is no file of this machine."""


def located(name: str, files: Path, *, outside: bool = False) -> tuple[Path, State]:
    """The path that a cell names, links followed, and what is there. Nothing is opened.

    Args:
        name: as the cell has it, space around it left out; `~` is no home.
        files: the folder where relative names begin.
        outside: True where a path may leave the folder.
    """
    name = name.strip()
    if REMOTE.match(name):
        return Path(name), "remote"
    path = files / name
    try:
        root, real = os.path.realpath(files), os.path.realpath(path)
        inside = real == root or real.startswith(root.rstrip(os.sep) + os.sep)
        if not inside and not outside:
            return path, "outside"
        mode = Path(real).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path, "missing"
    except (OSError, ValueError):  # a NUL, a name that is too long, links in a circle, a folder that may not be entered
        return path, "invalid"
    return Path(real), "file" if stat.S_ISREG(mode) else "other"
