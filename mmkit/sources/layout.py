"""How a model's inputs are made of the columns of a table: known from training, kept with the model, guessed never.

Axes: N rows of a piece of the table.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mmkit.errors import DataError, UsageError
from mmkit.sources import tabular
from mmkit.sources.columns import Array, Cells, Objects, Rows, Store
from mmkit.sources.inputs import Input, store_of
from mmkit.sources.memory import Column
from mmkit.sources.types import is_bytes, is_list, is_text, usual


class Wrong(NamedTuple):
    """A cell that is there, but not as training had it.

    Args:
        row: in the piece.
        input: that it belongs to.
        column: that it stands in.
        reason: why it cannot be read.
    """

    row: int
    input: str
    column: str
    reason: str


@dataclass(frozen=True)
class Layout:
    """How inputs and truth are made of columns.

    Args:
        inputs: of the model.
        columns: how each is read, by name: its kind, and what `tabular.fit` found.
        target: of the truth; None where nothing is known of it.
        id: the column that names each row; None where there is none.
    """

    inputs: Sequence[Input]
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: Mapping[str, Any] | None = None
    id: str | None = None

    @staticmethod
    def of(document: Mapping[str, Any] | None, inputs: Mapping[str, str], used: Iterable[str]) -> Layout:
        """The layout that a model keeps; without one, each input is the column of its name.

        Args:
            document: what `Description.layout` gave.
            inputs: the modality of each input of the task.
            used: the inputs that the model reads.
        """
        wanted = set(used)
        if document is None:
            return Layout([Input(name, kind, (name,)) for name, kind in inputs.items() if name in wanted])
        found = [
            Input(one["name"], one["modality"], tuple(one["columns"]))
            for one in document["inputs"]
            if one["name"] in wanted
        ]
        return Layout(found, document["columns"], document["target"], document["id"])

    def with_decimal(self, decimal: str | None) -> Layout:
        """The layout of a table that writes fractions with a "point" or a "comma"; None is as in training.

        Raises:
            UsageError: `decimal` is something else.
        """
        if decimal is None:
            return self
        if decimal not in {"point", "comma"}:
            raise UsageError(f"decimal is point or comma; got {decimal!r}")
        columns = {name: tabular.with_decimal(one, decimal) for name, one in self.columns.items()}
        target = self.target
        if target is not None:
            numbers = {name: tabular.with_decimal(one, decimal) for name, one in target["numbers"].items()}
            target = {**target, "numbers": numbers}
        return replace(self, columns=columns, target=target)

    @property
    def needed(self) -> list[str]:
        """The columns that inputs are made of."""
        return list(dict.fromkeys(name for one in self.inputs for name in one.columns))

    def has(self, name: str) -> bool:
        """Whether inputs are made of a column, or of fields of its mappings."""
        return any(name == one or one.startswith(f"{name}.") for one in self.needed)

    def absent(self, names: Iterable[str], where: str) -> dict[str, str]:
        """A line on each column that the model reads and a table lacks, with the name that may be meant.

        Args:
            names: of the table's columns.
            where: how messages call the table.
        """
        given = list(names)
        missing = [name for name in self.needed if not self._there(name, given)]
        free = {name.lower(): name for name in given if name not in self.needed}
        lines = {}
        for name in missing:
            close = difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.75)
            meant = f"; did you mean its column {free[close[0]]}?" if close else ""
            lines[name] = f"column {name} is not in {where}, and counts as missing in every row{meant}"
        return lines

    def check(self, names: Iterable[str], where: str) -> None:
        """Check that a table has a column that the model reads.

        Raises:
            DataError: it has none.
        """
        given = list(names)
        if not any(self._there(name, given) for name in self.needed):
            raise DataError(
                f"{where} has no column that the model reads, which are {', '.join(map(repr, self.needed))}; it has "
                f"{', '.join(map(repr, given))}"
            )

    def _there(self, name: str, given: Iterable[str]) -> bool:
        return name in given or (name not in self.columns and any(one.startswith(f"{name}.") for one in given))

    def stores(
        self, columns: Mapping[str, Column], count: int, *, files: Path, outside: bool = False
    ) -> tuple[dict[str, Store], list[Wrong]]:
        """The values of each input in a piece of a table, and the cells that cannot be read as in training.

        Args:
            columns: of the piece, N rows each.
            count: N.
            files: where relative names of files begin.
            outside: True where a name may lead out of that folder.
        """
        stores: dict[str, Store] = {}
        wrong: list[Wrong] = []
        for one in self.inputs:
            stores[one.name], found = self._store(one, columns, count, files=files, outside=outside)
            wrong += found
        return stores, wrong

    def _store(
        self, one: Input, columns: Mapping[str, Column], count: int, *, files: Path, outside: bool
    ) -> tuple[Store, list[Wrong]]:
        if one.modality == "table":
            fitted = self._row(one, columns, count) if set(one.columns) <= set(self.columns) else None
            return fitted or (_Records(one.name, columns), [])
        there = {name: columns[name] for name in one.columns if name in columns}
        if not there:
            fields = any(name.startswith(f"{one.name}.") for name in columns)
            return _Records(one.name, columns) if fields else Objects([None] * count), []
        if one.modality == "text" and not any(isinstance(column, list) for column in there.values()):
            return self._text(one, there, count)
        first = there[one.columns[0]]
        if isinstance(first, list):
            return Objects(first), []
        if one.modality == "series":
            return Cells(tabular.series_in(first)), _no_lists(one, usual(first))
        listed = is_list(first.type)
        return Cells(first) if listed else store_of(one, self.columns, there, files=files, outside=outside), []

    def _row(self, one: Input, columns: Mapping[str, Column], count: int) -> tuple[Store, list[Wrong]]:
        """The row of a table, column by column as it was fitted."""
        numbers: dict[str, Array] = {}
        categories: dict[str, tuple[Array, Sequence[str]]] = {}
        wrong = []
        for name in one.columns:
            fitted = self.columns[name]
            if name not in columns:
                cells = tabular.absent(name, fitted, count)
            else:
                cells = tabular.read(name, fitted, columns[name])
            numbers |= cells.numbers
            categories |= cells.categories
            wrong += [
                Wrong(row, one.name, name, f"{_shown(columns[name], row)} is not {cells.expected}")
                for row in np.flatnonzero(cells.wrong).tolist()
            ]
        return Rows(numbers, categories), wrong

    def _text(self, one: Input, there: Mapping[str, Column], count: int) -> tuple[Store, list[Wrong]]:
        wrong, plain = [], {}
        for name in one.columns:
            column = there.get(name, pa.chunked_array([pa.nulls(count, pa.large_string())]))
            if isinstance(column, list):
                raise DataError(f"column {name} holds objects of Python; the model reads texts there")
            if len(one.columns) == 1 and is_bytes(column.type):
                return Cells(column), []  # whether they are UTF-8 is told value by value
            if pa.types.is_nested(column.type) or is_bytes(column.type):
                gone = ~column.is_valid().to_numpy()
                wrong += [
                    Wrong(row, one.name, name, f"{_shown(column, row)} is not a text")
                    for row in np.flatnonzero(~gone).tolist()
                ]
                column = pa.chunked_array([pa.nulls(count, pa.large_string())])
            plain[name] = column
        return store_of(one, self.columns, plain, files=Path()), wrong


def _no_lists(one: Input, column: pa.ChunkedArray) -> list[Wrong]:
    """Cells of a series that are there, but hold no list."""
    if not is_text(column.type):
        return []
    lists = tabular.lists_in(column)
    rows = np.flatnonzero(column.is_valid().to_numpy() & ~lists.is_valid().to_numpy()).tolist()
    return [
        Wrong(row, one.name, one.columns[0], f"{_shown(column, row)} is not a list of numbers")
        for row in rows
        if column[row].as_py().strip()
    ]


def _shown(column: Column, row: int) -> str:
    value = column[row]
    text = repr(value.as_py() if hasattr(value, "as_py") else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Records:
    """Mappings whose fields are columns, `NAME.field`, as they are: of a task that is no table of its own."""

    def __init__(self, name: str, columns: Mapping[str, Column]) -> None:
        start = len(name) + 1
        self._cells: dict[str, Store] = {
            given[start:]: Objects(column) if isinstance(column, list) else Cells(column)
            for given, column in columns.items()
            if given.startswith(f"{name}.")
        }
        self._whole = columns.get(name)

    @property
    def fingerprint(self) -> str:
        """None is asked for."""
        raise AssertionError("rows of a new table are read once, and known by nothing")

    def value(self, row: int) -> Any:
        """The row, None where every cell is missing."""
        if self._whole is not None:
            value = self._whole[row]
            return value.as_py() if hasattr(value, "as_py") else value
        cells = {name: store.value(row) for name, store in self._cells.items()}
        return cells if any(cell is not None for cell in cells.values()) else None

    def gaps(self, rows: Array) -> Array:
        """[S] bool: True where every cell of a row is missing."""
        return np.array([self.value(row) is None for row in rows.tolist()], bool)
