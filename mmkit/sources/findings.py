"""What a user should know of the data before anything is trained: statements, never changes.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmkit.sources.targets import Target


@dataclass(frozen=True)
class Finding:
    """One statement.

    Args:
        level: "warning" where the answer may be wrong because of it, "note" otherwise.
        text: what was found, in counts, and what to write to act on it.
        columns: those that it is about.
    """

    level: str
    text: str
    columns: tuple[str, ...] = ()


def find(
    columns: Mapping[str, pa.ChunkedArray],
    kinds: Mapping[str, str],
    target: Target,
    *,
    splits: np.ndarray | None = None,
    copies: np.ndarray | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
    given: bool = False,
    seed: int = 0,
) -> list[Finding]:
    """Everything that tables alone can tell: leaks, copies, conflicts, rare classes, rows without inputs.

    Args:
        columns: the inputs [N] each.
        kinds: the kind of each.
        target: the truth.
        splits: [N] of each row.
        copies: [N], the first row of each set of copies (`duplicates`).
        groups: [N] by name, numbers of groups.
        given: True where the splits are the user's.
        seed: of the rows that leaks are looked for in.
    """
    raise NotImplementedError


def find_files(
    name: str,
    column: pa.ChunkedArray,
    files: Path,
    *,
    outside: bool = False,
    decode: Callable[[Path], Any] | None = None,
    looked_at: int = 200,
) -> list[Finding]:
    """What a column of files' names tells: how many are not there, lie outside, are empty, or cannot be read.

    Args:
        name: of the column.
        column: [N] names of files.
        files: the folder where relative names begin.
        outside: True where paths that leave it are allowed.
        decode: reads one file and raises where it cannot; None where nothing is to be opened.
        looked_at: how many files are decoded, spread evenly.
    """
    raise NotImplementedError
