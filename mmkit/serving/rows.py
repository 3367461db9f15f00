"""Rows of a table, and texts that several columns make, from the cells of a request, read as those of training were.

Axes: N samples of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmkit.errors import DataError, one_of
from mmkit.serving.limits import RefusedError
from mmkit.sources.inputs import Input
from mmkit.sources.layout import Layout

NOWHERE = Path("/dev/null/no-files")
"""Where names of files would begin, if any were looked for; nothing can be there."""


def is_row(one: Input, layout: Layout) -> bool:
    """Whether a request gives an input as cells by column: it is made of columns that training has fitted."""
    fitted = bool(one.columns) and set(one.columns) <= set(layout.columns)
    return (one.modality == "table" and fitted) or (one.modality == "text" and len(one.columns) > 1)


def values_of(one: Input, layout: Layout, given: Sequence[Any]) -> list[Any]:
    """The value of each of N samples, or a `RefusedError` that says why it has none.

    Args:
        one: the input, of which `is_row` is True.
        layout: of the model.
        given: [N] mappings of column to cell, as JSON has them; None is missing.
    """
    found = [_checked(one, cells) for cells in given]
    places = [place for place, cells in enumerate(found) if isinstance(cells, Mapping)]
    for place, value in zip(places, _read(one, layout, [found[place] for place in places]), strict=True):
        found[place] = value
    return found


def _checked(one: Input, cells: Any) -> Any:
    if cells is None:
        return None
    if not isinstance(cells, Mapping):
        return RefusedError(one.name, f"it is a mapping of column to cell; got {_kind(cells)}")
    for name, cell in cells.items():
        if name not in one.columns:
            return RefusedError(one.name, f"there is no column {name[:80]!r}; {one_of(one.columns, name[:80])}")
        if isinstance(cell, Mapping):
            return RefusedError(one.name, f"column {name}: a cell is a number, a string, a bool, a list or null")
        if one.modality == "text" and not isinstance(cell, str | None):
            return RefusedError(one.name, f"column {name}: a text is a string; got {_kind(cell)}")
    return cells


def _read(one: Input, layout: Layout, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The values of rows together, or one by one where their cells are of several types, or one cannot be read."""
    if not rows:
        return []
    columns = {}
    for name in one.columns:
        cells = [row.get(name) for row in rows]
        if all(cell is None for cell in cells):
            continue  # as of a table that lacks it
        try:
            columns[name] = pa.chunked_array([pa.array(cells)])
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            if len(rows) > 1:
                return [value for row in rows for value in _read(one, layout, [row])]
            return [RefusedError(one.name, f"column {name} cannot be read: {error}")]
    try:
        stores, wrong = Layout([one], layout.columns).stores(columns, len(rows), files=NOWHERE)
    except (DataError, pa.ArrowException, OverflowError, ValueError) as error:
        if len(rows) > 1:
            return [value for row in rows for value in _read(one, layout, [row])]
        return [RefusedError(one.name, f"it cannot be read: {error}")]
    reasons = {cell.row: f"column {cell.column}: {cell.reason}" for cell in reversed(wrong)}
    store = stores[one.name]
    return [RefusedError(one.name, reasons[n]) if n in reasons else store.value(n) for n in range(len(rows))]


def _kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    names = {bool: "a bool", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a mapping"}
    return names.get(type(value), "null" if value is None else type(value).__name__)
