"""Rows that are copies: equal inputs, equal files, equal longer texts. They stay in one split, and are told.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa


def equal_rows(columns: Mapping[str, pa.ChunkedArray]) -> np.ndarray:
    """The first row that has the same values in all columns.

    Args:
        columns: [N] each.

    Returns:
        [N] int64, a row's own number where it is the first.
    """
    raise NotImplementedError


def equal_texts(column: pa.ChunkedArray, words: int = 5) -> np.ndarray:
    """The first row with the same text, but for case and what stands between words; [N] int64.

    Shorter texts than `words` words (or four times as many characters of a script without spaces) are equal to none.
    """
    raise NotImplementedError


def equal_files(paths: Sequence[Path | None]) -> np.ndarray:
    """The first row whose file has the same bytes; [N] int64. Only files of the same size are read."""
    raise NotImplementedError


def joined(*firsts: np.ndarray) -> np.ndarray:
    """What any of several relations joins, directly or through others: the first row of each set, [N] int64."""
    raise NotImplementedError


def duplicates(
    columns: Mapping[str, pa.ChunkedArray],
    kinds: Mapping[str, str],
    *,
    files: Path | None = None,
    outside: bool = False,
    modalities: Sequence[str] = ("image", "audio", "video"),
) -> np.ndarray:
    """Rows that are copies of one another, by all of the above: the first row of each set, [N] int64.

    Where at least half of the rows equal another (a few columns of categories), equal rows are no copies, and only
    files and texts are looked at.

    Args:
        columns: the inputs [N] each; a column that is ignored takes no part.
        kinds: the kind of each column.
        files: where relative paths begin.
        outside: True where paths that leave the folder are allowed.
        modalities: kinds whose strings are names of files.
    """
    raise NotImplementedError
