"""From columns and their kinds to inputs: stores whose values modalities decode, the same whatever the source was.

Every image, audio, video, series or text column is an input by its own name. All columns of numbers, categories, dates,
lists of numbers and tags are one input, `table`.

Axes: N rows, K numbers of a list, V tags.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.errors import DataError
from mmkit.sources.columns import Array, Cells, Media, Objects, Rows, Store
from mmkit.sources.forms import dates, numbers
from mmkit.sources.guessing import TABLE
from mmkit.sources.memory import Column
from mmkit.sources.spooled import LARGE, ROWS, spooled, spooled_array

MOST_TEXTS = 4
"""More columns of text are joined: the shortest of them into one input."""
MOST_TAGS = 50
"""Tags of a column that become numbers, the most frequent in training."""
_BOOLS = {"true": "true", "false": "false"}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_EPOCH = np.datetime64("2000-01-01", "ms")


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
    kinds: Mapping[str, str],
    columns: Mapping[str, Column],
    train: Array,
    *,
    files: Path,
    outside: bool = False,
) -> Store:
    """The values of an input, of all rows.

    Args:
        one: the input.
        kinds: of its columns.
        columns: of the source.
        train: the rows of the training split, in which tags are counted.
        files: where relative names of files begin.
        outside: True where a name may lead out of that folder.

    Raises:
        DataError: a column cannot be of its kind.
    """
    first = columns[one.columns[0]]
    if one.modality == "table":
        return _rows(one.columns, kinds, columns, train)
    if isinstance(first, list):
        return Objects(first)
    if one.modality == "text":
        return Cells(_texts(one.columns, columns))
    if one.modality == "series":
        return Cells(first)
    return Media(_plain(first), files, outside=outside)


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
    plain = pc.utf8_trim_whitespace(_plain(column).cast(pa.large_string()))
    return pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.large_string()), plain)


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


def _rows(names: Sequence[str], kinds: Mapping[str, str], columns: Mapping[str, Column], train: Array) -> Rows:
    measured: dict[str, Array] = {}
    named: dict[str, tuple[Array, Sequence[str]]] = {}
    for name in names:
        kind, column = kinds[name], columns[name]
        if isinstance(column, list):
            raise DataError(f"column {name} holds objects of Python, and cannot be {kind}; --column {name}=ignore")
        if kind == "number":
            measured[name] = numbers(column)
        elif kind == "category":
            named[name] = categories(column)
        elif kind == "numbers":
            measured |= _lists(name, column)
        elif kind == "tags":
            measured |= _tags(name, column, train)
        else:
            days, calendar = _parts(name, dates(column, kind))
            measured |= days
            named |= calendar
        measured = {one: spooled_array(values, name) for one, values in measured.items()}
        named = {one: (spooled_array(codes, name), words) for one, (codes, words) in named.items()}
    return Rows(measured, named)


def categories(column: pa.ChunkedArray) -> tuple[Array, tuple[str, ...]]:
    """Numbers [N] of names, -1 where a cell is missing, and the names in order.

    A name is the same whatever the source: of 3, 3.0 and "3" it is "3", of true, True and "TRUE" it is "true" where the
    column holds nothing but yes and no.
    """
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    given = [_name(value) for value in encoded.dictionary.to_pylist()]
    if {name.lower() for name in given if name} <= set(_BOOLS):
        given = [name.lower() if name else name for name in given]
    names = sorted({name for name in given if name})
    places = {name: place for place, name in enumerate(names)}
    codes = np.array([*(places[name] if name else -1 for name in given), -1], dtype=np.int32)
    found = encoded.indices.fill_null(len(given)).to_numpy(zero_copy_only=False)
    return codes[found.astype(np.int64)], tuple(names)


def _name(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return unicodedata.normalize("NFC", str(value)).strip() or None


def _lists(name: str, column: pa.ChunkedArray) -> dict[str, Array]:
    """Columns of numbers from lists [N K]."""
    try:
        valid = np.concatenate([chunk.is_valid().to_numpy(zero_copy_only=False) for chunk in column.chunks])
        cells = np.concatenate(
            [chunk.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False) for chunk in column.chunks]
        )
        values = cells.reshape(int(valid.sum()), -1)  # [rows K]
    except (pa.ArrowException, AttributeError, ValueError) as error:
        raise DataError(
            f"column {name} is no list of equally many numbers in every row; --column {name}=series"
        ) from error
    whole = np.full((len(valid), values.shape[1]), np.nan)
    whole[valid] = values
    return {f"{name}.{place}": np.ascontiguousarray(column) for place, column in enumerate(whole.T)}


def _tags(name: str, column: pa.ChunkedArray, train: Array) -> dict[str, Array]:
    """A column of 0 and 1 for each of the most frequent tags of the training rows."""
    cells = [None if row is None else [_name(tag) for tag in row] for row in column.to_pylist()]
    counts = Counter(tag for row in train.tolist() for tag in set(cells[row] or ()) if tag)
    chosen = sorted(tag for tag, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST_TAGS])
    return {
        f"{name}={tag}": np.array([np.nan if row is None else float(tag in row) for row in cells]) for tag in chosen
    }


def _parts(name: str, moments: Array) -> tuple[dict[str, Array], dict[str, tuple[Array, Sequence[str]]]]:
    """Days since 2000, and of month, weekday and hour those that vary."""
    moments = moments.astype("datetime64[ms]")
    gone = np.isnat(moments)
    safe = np.where(gone, _EPOCH, moments)
    days = np.where(gone, np.nan, (safe - _EPOCH) / np.timedelta64(1, "D"))
    whole = safe.astype("datetime64[D]")
    parts: dict[str, tuple[Array, Sequence[str]]] = {
        "month": (safe.astype("datetime64[M]").astype(np.int64) % 12, [f"{n:02}" for n in range(1, 13)]),
        "weekday": ((whole.astype(np.int64) + 3) % 7, _DAYS),  # 1970 began on a Thursday
        "hour": ((safe - whole) // np.timedelta64(1, "h"), [f"{n:02}" for n in range(24)]),
    }
    found: dict[str, tuple[Array, Sequence[str]]] = {}
    for part, (codes, words) in parts.items():
        if len(np.unique(codes[~gone])) > 1:
            found[f"{name}.{part}"] = np.where(gone, -1, codes).astype(np.int32), words
    return {f"{name}.days": days}, found
