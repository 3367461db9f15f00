"""What a column of whole numbers is: row numbers, identifiers, moments, codes, ratings or amounts.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmkit.sources import dates, words
from mmkit.sources.guess import Guess
from mmkit.sources.hashes import different
from mmkit.sources.numbers import MOST, numbers

FEW = 10
"""Whole numbers that are at most so many different ones are categories."""


def guess_whole(name: str, column: pa.ChunkedArray, seen: Sequence[int], missing: int) -> Guess:
    """What a column of whole numbers is, be they numbers or strings."""
    rows = len(column) - missing
    count = different(column)
    unique = count == rows
    found = _whole_by_name(name, column, seen, rows=rows, count=count)
    if found is None:
        digits = {len(str(abs(value))) for value in seen}
        if (min(digits) >= 9 and len(digits) <= 2) or max(abs(value) for value in seen) > 2**53:
            long = f"whole numbers of {min(digits)} digits and more"
            found = ("ignore", f"{long}, all different") if unique else ("category", f"{long}, which repeat")
        elif count <= FEW:
            found = ("category", f"{count} different whole numbers")
        elif words.says_code(name) and count <= rows / 2:
            found = ("category", f"whole numbers named as codes, {count:,} values")
        else:
            found = ("number", "whole numbers")
    kind, reason = found
    return Guess(kind, reason, missing)


def _whole_by_name(
    name: str, column: pa.ChunkedArray, seen: Sequence[int], *, rows: int, count: int
) -> tuple[str, str] | None:
    if count == rows and rows > 2:
        if rows == len(column) and _rises(column):
            return "ignore", "row numbers: whole, all different, rising without gaps"
        if words.says_id(name):
            return "ignore", "an identifier by its name: whole numbers, all different"
    low, high = dates.SECONDS
    if words.says_time(name):
        for scale, what in ((1, "seconds"), (1000, "thousandths of a second")):
            if sum(low * scale <= value <= high * scale for value in seen) > MOST * len(seen):
                return "date", f"{what} since 1970, by size and name"
    if count > FEW:
        texts = pa.array([str(value) for value in seen])
        if (~np.isnat(dates.dates(pa.chunked_array([texts]))) & _eight(seen)).mean() > MOST:
            return "date", "whole numbers of year, month and day"
    return None


def _eight(seen: Sequence[int]) -> np.ndarray:
    return np.array([10**7 <= value < 10**8 for value in seen])


def _rises(column: pa.ChunkedArray) -> bool:
    values = numbers(column)
    return bool((np.diff(values) == 1).all())
