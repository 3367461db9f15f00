"""From columns and their kinds to inputs: stores whose values modalities decode, the same whatever the source was.

Every image, audio, video, series or text column is an input by its own name. All columns of numbers, categories, dates,
lists of numbers and tags are one input, `table`.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.sources import tabular
from mmkit.sources.columns import Array, Cells, Media, Objects, Rows, Store
from mmkit.sources.guess import TABLE
from mmkit.sources.members import Members, is_member
from mmkit.sources.memory import Column
from mmkit.sources.spooled import LARGE, ROWS, spooled, spooled_array
from mmkit.sources.types import usual

MOST_TEXTS = 4
"""More columns of text are joined: the shortest of them into one input."""


@dataclass(frozen=True)
class Input:
    """One input.

    Args:
        name: of the input.
        modality: that decodes it.
        columns: that it is made of.
    """

    name: str
    modality: str
    columns: tuple[str, ...]


def inputs_of(kinds: Mapping[str, str], columns: Mapping[str, Column]) -> list[Input]:
    """The inputs that columns of these kinds make, in the order of the source; the table is the last.

    Args:
        kinds: of each column that is used.
        columns: of the source.
    """
    rows = [name for name, kind in kinds.items() if kind in TABLE]
    texts = [name for name, kind in kinds.items() if kind == "text"]
    joined: list[str] = []
    if len(texts) > MOST_TEXTS:
        by_length = sorted(texts, key=lambda name: (_length(columns[name]), name))
        joined = by_length[: len(texts) - MOST_TEXTS + 1]
    found = [Input(name, kind, (name,)) for name, kind in kinds.items() if kind not in TABLE and name not in joined]
    taken = {one.name for one in found}
    if joined:
        found.append(Input(_free("texts", taken), "text", tuple(name for name in texts if name in joined)))
    if rows:
        found.append(Input(_free("table", taken | {one.name for one in found}), "table", tuple(rows)))
    return found


def store_of(
    one: Input,
    fitted: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Column],
    *,
    files: Path,
    outside: bool = False,
    deep: bool = False,
) -> Store:
    """The values of an input, of all rows.

    Args:
        one: the input.
        fitted: how the columns of a row are read, by name; see `tabular`.
        columns: of the source.
        files: where relative names of files begin.
        outside: True where a name may lead out of that folder.
        deep: True where files are known by their content.

    Raises:
        DataError: a column cannot be of its kind.
    """
    first = columns[one.columns[0]]
    if one.modality == "table":
        return _rows(one.columns, fitted, columns)
    if isinstance(first, list):
        return Objects(first)
    if one.modality == "text":
        return Cells(_texts(one.columns, columns))
    if one.modality == "series":
        return Cells(tabular.series_in(first))
    if is_member(first.type):
        return Members(first)
    return Media(_plain(first), files, outside=outside, deep=deep)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _length(column: Column) -> float:
    if isinstance(column, list):
        return float(np.mean([len(str(value)) for value in column if value is not None] or [0]))
    return float(pc.mean(pc.utf8_length(strings(column))).as_py() or 0)


def strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as strings without space around them; blank ones are missing."""
    plain = pc.utf8_trim_whitespace(_plain(usual(column)).cast(pa.large_string()))
    return pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.large_string()), plain)


def names_in(column: pa.ChunkedArray) -> list[str | None]:
    """The names that a column gives to rows or groups, [N]: strings, and bytes that are none as hexadecimal digits."""
    try:
        return strings(column).to_pylist()
    except pa.ArrowInvalid:  # bytes that are not UTF-8, as those of a UUID
        return [None if value is None else value.hex() for value in usual(column).to_pylist()]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without a dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _texts(names: Sequence[str], columns: Mapping[str, Column]) -> pa.ChunkedArray:
    """One column as it is; several as lines of `name: value`. A large one is mapped."""
    given: list[pa.ChunkedArray] = []
    for name in names:
        column = columns[name]
        if isinstance(column, list):
            texts = [None if value is None else str(value) for value in column]
            given.append(pa.chunked_array([pa.array(texts, pa.large_string())]))
        else:
            given.append(column)
    if sum(one.nbytes for one in given) < LARGE:
        return _lines(names, given)
    schema = pa.schema([("", pa.large_string())])
    size = len(given[0])
    parts = (
        pa.record_batch([chunk], schema)
        for start in range(0, size, ROWS)
        for chunk in _lines(names, [one.slice(start, ROWS) for one in given]).chunks
    )
    return spooled(schema, parts, f"the text of {', '.join(names)}").column(0)


def _lines(names: Sequence[str], columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    found = [strings(column) for column in columns]
    if len(found) == 1:
        return found[0]
    nothing = pa.scalar("", pa.large_string())
    lines = [  # joining with null_handling="skip" would lose rows whose every value is null
        pc.fill_null(pc.binary_join_element_wise(pa.scalar(f"\n{n}: ", pa.large_string()), column, nothing), nothing)
        for n, column in zip(names, found, strict=True)
    ]
    whole = pc.utf8_ltrim_whitespace(pc.binary_join_element_wise(*lines, nothing))
    return pc.if_else(pc.equal(whole, ""), pa.scalar(None, pa.large_string()), whole)


def _rows(names: Sequence[str], fitted: Mapping[str, Mapping[str, Any]], columns: Mapping[str, Column]) -> Rows:
    measured: dict[str, Array] = {}
    named: dict[str, tuple[Array, Sequence[str]]] = {}
    for name in names:
        cells = tabular.read(name, fitted[name], columns[name])
        measured |= {one: spooled_array(values, name) for one, values in cells.numbers.items()}
        named |= {one: (spooled_array(codes, name), words) for one, (codes, words) in cells.categories.items()}
    return Rows(measured, named)
