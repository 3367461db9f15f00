"""Dates that whole numbers count, and their parts: what is fitted on a column, and then the same for every table.

Axes: N rows.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.sources.columns import Array
from mmkit.sources.dates import SECONDS, dates
from mmkit.sources.numbers import numbers
from mmkit.sources.sampling import some
from mmkit.sources.sampling import strings as texts_in
from mmkit.sources.types import is_number, is_text

EPOCH = np.datetime64("2000-01-01", "ms")
"""From which days are counted."""
_SINCE_1970 = r"^\s*\d{9,13}\s*$"
_NOT_A_TIME = np.datetime64("NaT", "ms")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WORDS = {
    "month": tuple(f"{n:02}" for n in range(1, 13)),
    "weekday": _DAYS,
    "hour": tuple(f"{n:02}" for n in range(24)),
}
"""The names of each part, in order."""


def unit_of(column: pa.ChunkedArray) -> str | None:
    """What whole numbers that are dates count: "digits" (as in 20240501), "s" or "ms"; None of other dates."""
    if is_text(column.type):
        seen = texts_in(some(column))
        counts = [int(text) for text in seen if re.match(_SINCE_1970, text)]
        if not counts or 2 * len(counts) <= len(seen):
            return None
        return "ms" if float(np.median(counts)) > SECONDS[1] else "s"
    if not is_number(column.type):
        return None
    values = np.abs(numbers(column))
    values = values[np.isfinite(values)]
    if values.max(initial=0) < 1e8:
        return "digits"
    return "ms" if float(np.median(values)) > SECONDS[1] else "s"


def moments_of(column: pa.ChunkedArray, kind: str, unit: str | None) -> Array:
    """[N] datetime64[ms], NaT where a cell is missing, or is no date.

    Args:
        column: [N].
        kind: "date", "date:dayfirst" or "date:monthfirst".
        unit: of whole numbers, as `unit_of` has it; None finds it in the column itself.
    """
    if is_number(column.type):
        unit = unit_of(column) if unit is None else unit
        values = numbers(column)
        if unit == "digits":
            whole = pa.array(np.where(np.abs(values) < 1e15, values, np.nan), from_pandas=True)
            return dates(pa.chunked_array([whole.cast(pa.int64(), safe=False).cast(pa.string())]), kind)
        return _counted(values, unit)
    if unit in {"s", "ms"} and is_text(column.type):
        counts = pc.fill_null(pc.match_substring_regex(column, _SINCE_1970), fill_value=False)
        number = pc.if_else(counts, column, pa.scalar(None, column.type))
        other = pc.if_else(counts, pa.scalar(None, column.type), column)
        values = _counted(pc.utf8_trim_whitespace(number).cast(pa.float64()).to_numpy(), unit)
        return np.where(counts.to_numpy(), values, dates(other, kind))
    return dates(column, kind)


def _counted(values: Array, unit: str | None) -> Array:
    thousandths = values * (1 if unit == "ms" else 1000)
    found = np.full(len(values), _NOT_A_TIME)
    known = np.isfinite(thousandths) & (np.abs(thousandths) < 1e15)
    found[known] = np.round(thousandths[known]).astype(np.int64).astype("datetime64[ms]")
    return found


def parts_in(moments: Array) -> list[str]:
    """Of month, weekday and hour those that vary."""
    gone = np.isnat(moments)
    return [part for part, codes in calendar_of(moments).items() if len(np.unique(codes[~gone])) > 1]


def calendar_of(moments: Array) -> dict[str, Array]:
    """[N] month from 0, weekday from Monday and hour of each moment."""
    safe = np.where(np.isnat(moments), EPOCH, moments).astype("datetime64[ms]")
    whole = safe.astype("datetime64[D]")
    return {
        "month": safe.astype("datetime64[M]").astype(np.int64) % 12,
        "weekday": (whole.astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
        "hour": (safe - whole) // np.timedelta64(1, "h"),
    }
