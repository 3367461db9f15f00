"""The order in time of rows, by one column: dates as they were found, or numbers that rise.

Axes: N rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.errors import UsageError
from mmkit.sources.columns import Array
from mmkit.sources.dates import dates
from mmkit.sources.findings import Finding
from mmkit.sources.guess import Guess
from mmkit.sources.guessing import guess
from mmkit.sources.moments import moments_of, unit_of
from mmkit.sources.numbers import ABSENT, form_of, numbers
from mmkit.sources.sampling import some, strings
from mmkit.sources.types import is_number, is_text, usual
from mmkit.titles import counted

_ORDERS = {
    "date": "dates, year first",
    "date:dayfirst": "dates, day first",
    "date:monthfirst": "dates, month first",
}


def times_of(name: str, column: pa.ChunkedArray, needed: Array, kind: str | None = None) -> tuple[Array, str]:
    """What orders rows, and how the column was read, in words.

    Args:
        name: of the column.
        column: [N] dates of any form that is read, or numbers, which rise with time: a year, a step, seconds.
        needed: [N] bool, the rows that have to have a time.
        kind: of the column, where the user says it: "number", "date", "date:dayfirst" or "date:monthfirst".

    Returns:
        [N] datetime64[ms] or numbers.

    Raises:
        UsageError: its values are no times, the day or the month may come first, or a row has none.
    """
    column = usual(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_number(column.type) and not pa.types.is_boolean(column.type) and (kind is None or kind == "number"):
        whole = pa.types.is_integer(column.type) and column.null_count == 0
        found, reading = column.to_numpy() if whole else numbers(column), "numbers"
    else:
        found, reading = _read(name, column, kind)
    gone = (np.isnat(found) if found.dtype.kind == "M" else np.isnan(found.astype(np.float64))) & needed
    if gone.any():
        raise UsageError(_told(name, column, gone, int(needed.sum()), reading))
    return found, reading


def out_of_order(name: str, times: Array, sides: Array, why: str) -> list[Finding]:
    """What is said where rows of train are later than the first of test.

    Args:
        name: of the column.
        times: [N] as `times_of` gives them.
        sides: [N] the split of each row.
        why: it is so.
    """
    train, tested = times[sides == 0], times[sides == 2]
    late = int((train > tested.min()).sum())
    if not late:
        return []
    are = "is" if late == 1 else "are"
    text = f"{late:,} of {counted(len(train), 'row')} of train {are} later by {name} than the first of test, as {why}"
    return [Finding("warning", text, (name,))]


def _read(name: str, column: pa.ChunkedArray, kind: str | None) -> tuple[Array, str]:
    known = Guess(kind, _ORDERS[kind], 0) if kind in _ORDERS else guess(name, column)
    if known.problem and known.kind in _ORDERS:
        raise UsageError(f"--time: {known.problem}")
    if known.kind in _ORDERS and kind != "number":
        reading = "dates" if pa.types.is_temporal(column.type) else known.reason
        return moments_of(column, known.kind, unit_of(column)), reading
    if is_text(column.type):
        if form_of(strings(some(column))) is not None:
            return numbers(column), "numbers"
        if kind != "number" and not np.isnat(found := dates(column)).all():
            return found, "dates, year first"
    what = "words" if is_text(column.type) else f"of Arrow's type {column.type}"
    shown = ", ".join(dict.fromkeys(f"{value!r:.40}" for value in some(column, 3).to_pylist()))
    raise UsageError(
        f"--time: column {name} is no time: its values are {what}, as {shown or 'none is there'}; name a column of "
        "dates, or of numbers that rise with time"
    )


def _told(name: str, column: pa.ChunkedArray, gone: Array, rows: int, reading: str) -> str:
    """Why rows have no time: their cells hold something else, or are empty."""
    there = gone & _there(column)
    if there.any():
        row = int(there.argmax())
        return (
            f"--time: {int(there.sum()):,} of {counted(rows, 'row')} cannot be read in column {name}, which holds "
            f"{reading}: row {row} has {column[row].as_py()!r:.60}; correct such cells, or write --column {name}=KIND "
            "if all are of another kind (date, date:dayfirst, date:monthfirst, number)"
        )
    count = int(gone.sum())
    has, them = ("has", "it in, or leave the row") if count == 1 else ("have", "them in, or leave these rows")
    return (
        f"--time: {count:,} of {counted(rows, 'row')} {has} no time, the first is row {int(gone.argmax())}: column "
        f"{name} is empty there; fill {them} out of the table"
    )


def _there(column: pa.ChunkedArray) -> Array:
    """[N] bool: cells that are neither empty nor a sign for "missing"."""
    if not is_text(column.type):
        return column.is_valid().to_numpy()
    signs = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(column)), pa.array(sorted(ABSENT), column.type))
    return column.is_valid().to_numpy() & ~signs.to_numpy()
