"""Numbers and dates as people write them, read from strings: by column, never value by value.

Axes: N rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column that was read as "number".

    Whatever Arrow calls a number, a bool or a decimal; and strings in one form: `1234.5`, `$1,234.50`, `45 %` (which is
    45), `3,14`, `12 KB` (which is 12,000).

    Args:
        column: [N].

    Returns:
        [N] float64; NaN where a value is missing, or is no number.
    """
    raise NotImplementedError


def dates(column: pa.ChunkedArray, kind: str = "date") -> np.ndarray:
    """The moments of a column that was read as a date.

    Args:
        column: [N] dates and times of Arrow, whole numbers (seconds since 1970, or thousandths of them), or strings.
        kind: "date" (year first), "date:dayfirst" or "date:monthfirst".

    Returns:
        [N] datetime64[ms], in UTC where a zone is written; NaT where a value is missing, or is no date.
    """
    raise NotImplementedError
