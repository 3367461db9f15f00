"""Files that cells name: how many are not there, lie outside of the folder, are no files, or are empty.

Nothing is opened.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkit.sources.findings import Finding
from mmkit.sources.hashes import pieces
from mmkit.sources.paths import located

SHOWN = 3
"""Names of files that a finding shows."""

_STATES = {
    "missing": "that {are} not there",
    "outside": "outside of the folder, which {are} not read (--outside allows it)",
    "other": "that {are} folders, devices or pipes, and not read",
    "remote": "of the web or a store, which {are} not fetched",
    "invalid": "that {are} no paths",
    "empty": "that {are} empty",
}


def find_files(
    name: str, column: pa.ChunkedArray, files: Path, *, outside: bool = False
) -> tuple[list[Finding], np.ndarray]:
    """What a column of files' names tells, and the rows whose file is there and not empty, [N] bool.

    Args:
        name: of the column.
        column: [N] names of files.
        files: the folder where relative names begin.
        outside: True where paths that leave it are allowed.
    """
    rows: dict[str, int] = {}
    states: dict[str, str] = {}
    there = []
    for piece in pieces(column):
        for text in piece.to_pylist():
            if text is None or not text.strip():
                there.append(False)
                continue
            if text not in rows:
                path, state = located(text, files, outside=outside)
                states[text] = str(state)
                if state == "file" and not path.stat().st_size:
                    states[text] = "empty"
            rows[text] = rows.get(text, 0) + 1
            there.append(states[text] == "file")
    found = []
    for why, what in _STATES.items():
        if names := [text for text, of in states.items() if of == why]:
            count = sum(rows[text] for text in names)
            files_that = what.format(are="is" if count == 1 else "are")
            told = f"{name}: {count:,} {'row names a file' if count == 1 else 'rows name files'} {files_that}"
            found.append(Finding("warning", f"{told}, as {shown(names)}", (name,)))
    return found, np.array(there, bool)


def shown(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    few = ", ".join(f"{name!r:.80}" for name in names[:SHOWN])
    return few + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
