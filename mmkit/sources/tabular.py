"""Columns of a table's row: how they are read is fitted once, and then the same for every table.

How numbers and names are written, and how long lists are, is found in all rows; which tags become numbers and which
parts of a date vary, in those of the training split alone. What was found is plain JSON that a saved model keeps, so
that a new table is read by it and by nothing else, however few or strange its rows are.

Axes: N rows, K numbers of a list, V tags.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.errors import DataError
from mmkit.sources.columns import Array
from mmkit.sources.derived import derived
from mmkit.sources.lists import listed
from mmkit.sources.memory import Column
from mmkit.sources.moments import EPOCH, WORDS, calendar_of, moments_of, parts_in, unit_of
from mmkit.sources.numbers import ABSENT, Form, form_of, numbers
from mmkit.sources.sampling import some
from mmkit.sources.sampling import strings as texts_in
from mmkit.sources.types import is_list, is_number, is_text, usual

MOST_TAGS = 50
"""Tags of a column that become numbers, the most frequent in training."""

_FLAGS = frozenset({"true", "false"})
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_POINT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")


PLAIN_NUMBER: Mapping[str, Any] = {"kind": "number", "form": {"style": "plain", "unit": ""}, "absent": []}
"""A column of numbers of which nothing is known."""


@dataclass
class RowCells:
    """What a column gives to the rows of a table.

    Args:
        numbers: [N] float64 by name, NaN where a cell is missing.
        categories: [N] numbers of names, -1 where a cell is missing, with the names; by column.
        wrong: [N] bool, True where a cell is there but cannot be read as training read the column.
        expected: what is expected there, in words.
    """

    wrong: Array
    expected: str
    numbers: dict[str, Array] = field(default_factory=dict)
    categories: dict[str, tuple[Array, Sequence[str]]] = field(default_factory=dict)


def fit(name: str, kind: str, column: Column, train: Array, absent: Sequence[str] = ()) -> dict[str, Any]:
    """How a column is read, as plain JSON.

    Args:
        name: of the column.
        kind: of it, one of those that make a row of a table.
        column: [N], of all rows.
        train: the rows of the training split, in which tags are counted and parts of dates vary.
        absent: strings beside the usual ones that mean "missing" in a column of numbers.

    Raises:
        DataError: it cannot be of this kind.
    """
    if isinstance(column, list):
        raise DataError(f"column {name} holds objects of Python, and cannot be {kind}; --column {name}=ignore")
    column = usual(column)
    if kind == "number":
        return {"kind": kind, "form": _form_in(column), "absent": sorted(set(absent))}
    if kind == "category":
        return {"kind": kind, "names": _names_in(column)}
    if kind == "numbers":
        return {"kind": kind, "size": _size_of(name, lists_in(column))}
    if kind == "tags":
        return {"kind": kind, "tags": _tags_in(lists_in(column), train)}
    unit = unit_of(column)
    return {"kind": kind, "unit": unit, "parts": parts_in(moments_of(column, kind, unit)[train])}


def read(name: str, fitted: Mapping[str, Any], column: Column) -> RowCells:
    """The cells of a column, read as it was fitted.

    Args:
        name: of the column.
        fitted: what `fit` gave.
        column: [N].
    """
    kind, name = fitted["kind"], fitted.get("as", name)
    if isinstance(column, list):
        return _of_objects(name, fitted, column)
    column = usual(column)
    if kind == "number":
        return _numbers(name, fitted, column)
    if kind == "category":
        return _categories(name, fitted, column)
    if kind == "numbers":
        return _lists(name, fitted, column)
    if kind == "tags":
        return _tags(name, fitted, column)
    return _dates(name, fitted, column)


def absent(name: str, fitted: Mapping[str, Any], count: int) -> RowCells:
    """The cells of a column that a table does not have: all are missing."""
    return _nothing(name, fitted, RowCells(np.zeros(count, dtype=bool), ""))


def _nothing(name: str, fitted: Mapping[str, Any], cells: RowCells) -> RowCells:
    count = len(cells.wrong)
    measured, named = derived(name, fitted)
    words: list[Sequence[str]] = [WORDS[part] for part in fitted.get("parts", ())] or [()]
    cells.numbers = {one: np.full(count, np.nan) for one in measured}
    gap = np.full(count, -1, dtype=np.int32)
    cells.categories = {one: (gap, known) for one, known in zip(named, words, strict=False)}
    return cells


def _of_objects(name: str, fitted: Mapping[str, Any], column: Sequence[Any]) -> RowCells:
    """Cells that Arrow refuses as one column: those of each type are read for themselves, as where no others are."""
    kind = fitted["kind"]
    lists = {"numbers": f"a list of {fitted.get('size')} numbers", "tags": "a list of tags"}
    there = np.array([value is not None for value in column], dtype=bool)
    cells = _nothing(name, fitted, RowCells(there, lists.get(kind, f"a {kind.partition(':')[0]}")))
    for of in dict.fromkeys(type(value) for value in column if value is not None):
        rows = [row for row, value in enumerate(column) if type(value) is of]
        alike = [column[row] for row in rows]
        try:
            given = pa.array(np.array(alike) if issubclass(of, np.generic) else alike)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue  # of no type that a cell has
        found = read(name, fitted, pa.chunked_array([given]))
        cells.wrong[rows], cells.expected = found.wrong, found.expected
        for one, values in found.numbers.items():
            cells.numbers[one][rows] = values
        for one, (codes, names) in found.categories.items():
            places = {word: place for place, word in enumerate((*dict.fromkeys((*cells.categories[one][1], *names)),))}
            read_as = cells.categories[one][0].copy()
            read_as[rows] = np.array([*(places[word] for word in names), -1], dtype=np.int32)[codes]
            cells.categories[one] = read_as, tuple(places)
    return cells


# Numbers.


def with_decimal(fitted: Mapping[str, Any], decimal: str) -> Mapping[str, Any]:
    """How a column of numbers is read whose fractions are written in another way than in training.

    Args:
        fitted: what `fit` gave; that of other columns stays as it is.
        decimal: "point" or "comma".
    """
    form = fitted.get("form")
    if not form:
        return fitted
    style = "comma" if decimal == "comma" else "plain" if form["style"] == "plain" else "thousands"
    return {**fitted, "form": {**form, "style": style}}


def other_decimal(fitted: Mapping[str, Any], cell: object) -> str:
    """The sign of fractions by which a cell is a number that is none as it was fitted; empty where there is none."""
    form = fitted.get("form")
    if not form or not isinstance(cell, str):
        return ""
    other = "point" if form["style"] == "comma" else "comma"
    (value,) = _numbers("", with_decimal(fitted, other), pa.chunked_array([[cell]])).numbers[""]
    return other if np.isfinite(value) else ""


def _form_in(column: pa.ChunkedArray) -> dict[str, str] | None:
    """How the strings of a column of numbers are written; of a column without strings, plainly."""
    if not (pa.types.is_dictionary(column.type) or is_text(column.type)):
        return {"style": "plain", "unit": ""}
    form = form_of(texts_in(some(column)))
    return None if form is None else {"style": form.style, "unit": form.unit}


def _numbers(name: str, fitted: Mapping[str, Any], column: pa.ChunkedArray) -> RowCells:
    form = fitted["form"] and Form(fitted["form"]["style"], fitted["form"]["unit"], 1.0, whole=False)
    expected = f"a number{f', written with {form.words}' if form and form.words else ''}"
    if not (is_text(column.type) or pa.types.is_dictionary(column.type)):
        values = numbers(column)
        wrong = np.isnan(values) & (_there(column) if not is_number(column.type) else False)
        return RowCells(wrong, expected, {name: values})
    if form is None:
        return _nothing(name, fitted, RowCells(np.zeros(len(column), dtype=bool), expected))
    values = numbers(column, form)
    return RowCells(_unread(column, np.isnan(values), fitted["absent"]), expected, {name: values})


def _unread(column: pa.ChunkedArray, gaps: Array, signs: Sequence[str] = ()) -> Array:
    """[N]: cells that are there, and no sign for "missing", among those that gave nothing."""
    left = gaps & _there(column)
    if not left.any() or not (is_text(column.type) or pa.types.is_dictionary(column.type)):
        return left
    known = pa.array(sorted({one.strip().lower() for one in signs} | ABSENT), pa.string())
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string()).filter(pa.array(left))))
    wrong = np.zeros(len(column), dtype=bool)
    wrong[left] = ~pc.is_in(texts, known).to_numpy()
    return wrong


def _there(column: pa.ChunkedArray) -> Array:
    if pa.types.is_floating(column.type):  # NaN is missing
        return pc.is_finite(column.fill_null(np.nan)).to_numpy()
    return pc.is_valid(column).to_numpy()


# Categories.


def categories(column: pa.ChunkedArray) -> tuple[Array, tuple[str, ...]]:
    """Numbers [N] of names, -1 where a cell is missing, and the names in order.

    A name is the same whatever the source: of 3, 3.0 and "3" it is "3", of true, True and "TRUE" it is "true" where the
    column holds nothing but yes and no.
    """
    cells = read("", fit("", "category", column, np.arange(0)), column)
    codes, names = cells.categories[""]
    return codes, tuple(names)


def _names_in(column: pa.ChunkedArray) -> str:
    """How the names of a column are written: "flags" (yes and no), "whole" (whole numbers), or "texts"."""
    _, given = _coded(column)
    names = [name for name in given if name]
    if {name.lower() for name in names} <= _FLAGS:
        return "flags"
    whole = names and all(_WHOLE.fullmatch(name) or _POINT.fullmatch(name) for name in names)
    return "whole" if whole else "texts"


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, list[str | None]]:
    """A column as a dictionary, and the names of its values."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    return encoded, [_name(value) for value in _plain(encoded.dictionary)]


def _plain(values: pa.Array) -> list[Any]:
    """Values as Python has them; of a moment beyond Python's years, what Arrow calls it."""
    try:
        found: list[Any] = values.to_pylist()
    except (OverflowError, ValueError):
        found = [_moment(value) for value in values]
    return found


def _moment(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return str(value.cast(pa.string()))


def _categories(name: str, fitted: Mapping[str, Any], column: pa.ChunkedArray) -> RowCells:
    expected = "a category: a string, a whole number, or a bool"
    if pa.types.is_nested(column.type):
        return _nothing(name, fitted, RowCells(_there(column), expected))
    encoded, given = _coded(column)
    if fitted["names"] == "flags":
        given = [one.lower() if one and one.lower() in _FLAGS else one for one in given]
    elif fitted["names"] == "whole":  # a gap makes tables write whole numbers with a point
        given = [match[1] if one and (match := _POINT.fullmatch(one)) else one for one in given]
    names = sorted({one for one in given if one})
    places = {one: place for place, one in enumerate(names)}
    codes = np.array([*(places[one] if one else -1 for one in given), -1], dtype=np.int32)
    found = encoded.indices.fill_null(len(given)).to_numpy(zero_copy_only=False)
    read_as = codes[found.astype(np.int64)]
    return RowCells(np.zeros(len(column), dtype=bool), expected, categories={name: (read_as, tuple(names))})


def _name(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return unicodedata.normalize("NFC", str(value)).strip() or None


# Lists.


def lists_in(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of lists, where its strings hold them as JSON; else the column itself."""
    if not is_text(column.type):
        return column
    found = listed(column.to_pylist())
    try:
        return pa.chunked_array([pa.array(found)])
    except (pa.ArrowException, OverflowError):  # of strings as well as numbers
        return pa.chunked_array([pa.array([one and [str(value) for value in one] for one in found])])


def series_in(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of series, where its strings hold them as JSON, too; one without a step is missing."""
    found = lists_in(usual(column))
    if not is_list(found.type):
        return found
    empty = pc.fill_null(pc.equal(pc.list_value_length(found), 0), fill_value=False)
    return pc.if_else(empty, pa.scalar(None, found.type), found) if pc.any(empty).as_py() else found


def _size_of(name: str, column: pa.ChunkedArray) -> int:
    """K of a column of lists."""
    sizes = pc.unique(pc.list_value_length(column)).drop_null().to_pylist() if is_list(column.type) else []
    if len(sizes) != 1 or not is_number(column.type.value_type):
        raise DataError(f"column {name} is no list of equally many numbers in every row; --column {name}=series")
    return int(sizes[0])


def _lists(name: str, fitted: Mapping[str, Any], given: pa.ChunkedArray) -> RowCells:
    """Columns of numbers from lists [N K]."""
    size = fitted["size"]
    expected = f"a list of {size} numbers"
    column = lists_in(given)
    there = _there(given) & ~_blank(given)
    if not (is_list(column.type) and (is_number(column.type.value_type) or pa.types.is_null(column.type.value_type))):
        return _nothing(name, fitted, RowCells(there, expected))
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    fits = lengths == size
    whole = np.full((len(column), size), np.nan)
    flat = pc.list_flatten(column.filter(pa.array(fits))).cast(pa.float64(), safe=False)
    whole[fits] = flat.to_numpy().reshape(-1, size)
    found = {f"{name}.{place}": np.ascontiguousarray(one) for place, one in enumerate(whole.T)}
    return RowCells(there & ~fits, expected, found)


def _blank(column: pa.ChunkedArray) -> Array:
    """[N]: strings without a sign."""
    if not is_text(column.type):
        return np.zeros(len(column), dtype=bool)
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), fill_value=False).to_numpy()


def _tag_cells(column: pa.ChunkedArray) -> list[set[str] | None]:
    return [
        None if row is None else {tag for one in row if (tag := _name(one))}
        for row in (column.to_pylist() if is_list(column.type) else [None] * len(column))
    ]


def _tags_in(column: pa.ChunkedArray, train: Array) -> list[str]:
    """The most frequent tags of the training rows."""
    cells = _tag_cells(column)
    counts = Counter(tag for row in train.tolist() for tag in cells[row] or ())
    return sorted(tag for tag, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST_TAGS])


def _tags(name: str, fitted: Mapping[str, Any], given: pa.ChunkedArray) -> RowCells:
    """A column of 0 and 1 for each tag."""
    column = lists_in(given)
    cells = _tag_cells(column)
    found = {
        f"{name}={tag}": np.array([np.nan if row is None else float(tag in row) for row in cells])
        for tag in fitted["tags"]
    }
    unread = np.array([row is None for row in cells], dtype=bool)
    return RowCells(_there(given) & unread & ~_blank(given), "a list of tags", found)


# Dates.


def _dates(name: str, fitted: Mapping[str, Any], column: pa.ChunkedArray) -> RowCells:
    """Days since 2000, and the parts of the calendar that varied in training."""
    kind = fitted["kind"]
    order = {"date": "", "date:dayfirst": ", the day first", "date:monthfirst": ", the month first"}[kind]
    expected = f"a date{order}"
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return _nothing(name, fitted, RowCells(_there(column), expected))
    moments = moments_of(column, kind, fitted["unit"]).astype("datetime64[ms]")
    gone = np.isnat(moments)
    safe = np.where(gone, EPOCH, moments)
    days = np.where(gone, np.nan, (safe - EPOCH) / np.timedelta64(1, "D"))
    calendar = calendar_of(moments)
    found: dict[str, tuple[Array, Sequence[str]]] = {
        f"{name}.{part}": (np.where(gone, -1, calendar[part]).astype(np.int32), WORDS[part]) for part in fitted["parts"]
    }
    return RowCells(_unread(column, gone), expected, {f"{name}.days": days}, found)
