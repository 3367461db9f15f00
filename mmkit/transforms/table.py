"""Table rows to numbers and categories; columns, scaling and vocabularies are fitted on the training split."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Generator

from mmkit.contract import Batch
from mmkit.errors import DataError, ValuesError, one_of
from mmkit.modalities.table import Cell

Row = Mapping[str, Cell]
Array = np.ndarray[Any, np.dtype[Any]]

MISSING, UNKNOWN = 0, 1
BOOLS = {"1": "true", "0": "false", "true": "true", "false": "false"}
"""How files and other libraries write yes and no."""
FAR = 1e6
WORTHWHILE = 128
"""Rows from which it is faster to read them column by column."""


class TableTransform:
    """Rows to `numbers` [B N], standardised, zero where not `present` [B N]; `categories` [B K]; and `mask` [B].

    Columns of numbers only are read as numbers, columns of strings or booleans as categories: 0 is a missing cell, 1 an
    unknown one, then come the values of the training split. Columns are in the order of their names. A column that is
    empty in the training split is accepted later, but not read. Numbers are clipped at a million standard deviations
    from the mean. In a column of booleans 1 and 0, or the texts "true" and "false", are the same as they; so are
    booleans in a column of 0 and 1.

    Rows that are read column by column (they have `arrow(index, names)`) are transformed so, twenty times as fast, to
    the same tensors.

    Args:
        categorical: columns of numbers that are read as categories, such as codes.
        ignore: columns that are not read.
        min_count: categories that are rarer than this in training count as unknown.
    """

    augments = False
    streams = True

    def __init__(
        self,
        *,
        categorical: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        min_count: Annotated[int, Ge(1)] = 1,
    ) -> None:
        both = sorted(set(categorical) & set(ignore))
        if both:
            raise ValueError(f"column {both[0]!r} is in categorical and in ignore; leave it out of one of them")
        self.categorical = tuple(categorical)
        self.ignore = tuple(ignore)
        self.min_count = min_count
        self.scales: dict[str, tuple[float, float]] = {}  # mean and deviation of each column of numbers
        self.values: dict[str, dict[str, int]] = {}  # index of each value of each column of categories
        self.flags: frozenset[str] = frozenset()  # columns of numbers that are all 0 or 1
        self.unread: tuple[str, ...] = ()
        self.rows = 0  # of the training split, with a cell that is read

    @property
    def sizes(self) -> tuple[int, ...]:
        """Categories of each of the K columns, missing and unknown included."""
        return tuple(len(values) + 2 for values in self.values.values())

    def fit(self, values: Sequence[Row | None]) -> None:
        """Learn the columns: which there are, of what kind, their scaling and their values.

        Raises:
            DataError: there is no column to read, or an option names one that is not there.
            ValuesError: a column holds numbers as well as other cells; those that are fewer are wrong.
        """
        if (arrow := getattr(values, "arrow", None)) is not None and self._fit_columns(arrow, len(values)):
            return
        rows = {place: row for place, row in enumerate(values) if row is not None}
        cells = {
            column: {place: cell for place, row in rows.items() if (cell := row.get(column)) is not None}
            for column in sorted({column for row in rows.values() for column in row})
        }
        self._check_options(cells)
        self.unread = tuple(column for column in cells if column in self.ignore or not cells[column])
        self.scales, self.values, self.flags = {}, {}, frozenset()
        wrong: dict[int, str] = {}
        for column in (column for column in cells if column not in self.unread):
            numbers = {place: cell for place, cell in cells[column].items() if _is_number(cell)}
            others = {place: cell for place, cell in cells[column].items() if place not in numbers}
            if column in self.categorical or not numbers:
                self.values[column] = self._categories(Counter(map(_name, cells[column].values())))
            elif set(numbers.values()) <= {0, 1} and all(isinstance(cell, bool) for cell in others.values()) and others:
                self.values[column] = self._categories(Counter(_name(bool(cell)) for cell in cells[column].values()))
            elif not others:
                cells_of = [_number(column, cell) for cell in numbers.values()]
                self.scales[column] = _scale(column, np.array(cells_of, dtype=np.float64))
                self.flags |= {column} if set(numbers.values()) <= {0, 1} else set()
            else:
                fewer, kind = (numbers, "categories") if len(numbers) < len(others) else (others, "numbers")
                for place, cell in fewer.items():
                    reason = f"column {column!r} is one of {kind}; got {cell!r}; mend it, or name it in categorical"
                    wrong.setdefault(place, reason)
        if wrong:
            raise ValuesError(wrong)
        read = (*self.scales, *self.values)
        self.rows = sum(any(row.get(column) is not None for column in read) for row in rows.values())
        self._check_found()

    def _fit_columns(self, arrow: Callable[..., Any], size: int) -> bool:
        """The same of rows that are read column by column; False if some cell is no finite number, as rows tell."""
        every = np.arange(size)
        names = sorted(arrow(every[:0]).schema.names)
        self._check_options(names)
        scales, values, flags, unread = {}, {}, set(), []
        there = np.zeros(size, dtype=bool)
        for name in names:
            column = _Cells(arrow(every, [name]).column(0))
            if not column.finite:
                return False
            if name in self.ignore or not column.present.any():
                unread.append(name)
                continue
            there |= column.present
            if column.numeric and name not in self.categorical:
                cells = column.numbers[column.present]
                scales[name] = _scale(name, cells)
                flags |= {name} if np.isin(cells, (0, 1)).all() else set()
            else:
                values[name] = self._categories(dict(zip(*column.counted(), strict=True)))
        self.scales, self.values, self.flags, self.unread = scales, values, frozenset(flags), tuple(unread)
        self.rows = int(there.sum())
        self._check_found()
        return True

    def _check_options(self, columns: Collection[str]) -> None:
        for option, named in (("categorical", self.categorical), ("ignore", self.ignore)):
            for column in named:
                if column not in columns:
                    raise DataError(f"{option} names column {column!r}, which no row has; {one_of(columns, column)}")

    def _check_found(self) -> None:
        if not self.scales and not self.values:
            raise DataError("the table has no column with a cell to learn from in the training split")

    def __call__(self, values: Sequence[Row | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`numbers` float32 and `present` bool [B N], `categories` long [B K], `mask` bool [B].

        Raises:
            DataError: a column that the training split did not have, or a column of numbers with another cell.
        """
        known = {*self.scales, *self.values, *self.unread}
        if len(values) >= WORTHWHILE and (arrow := getattr(values, "arrow", None)) is not None:
            found = self._columns(arrow(np.arange(len(values))), known)
            if found is not None:
                return found
        for row in values:
            if row is not None and not known.issuperset(row):
                column = next(column for column in row if column not in known)
                raise DataError(f"the training split had no column {column!r}; {one_of(known, column)}")
        rows: list[Row] = [{} if row is None else row for row in values]
        numbers = np.zeros((len(rows), len(self.scales)), dtype=np.float32)
        present = np.zeros(numbers.shape, dtype=bool)
        for n, (column, (mean, deviation)) in enumerate(self.scales.items()):
            given = [row.get(column) for row in rows]
            if column in self.flags:
                given = [int(cell) if isinstance(cell, bool) else cell for cell in given]
            cells = [_number(column, cell) for cell in given]
            present[:, n] = [cell is not None for cell in cells]
            scaled = [0.0 if cell is None else (cell - mean) / deviation for cell in cells]
            numbers[:, n] = np.clip(scaled, -FAR, FAR)
        categories = np.full((len(rows), len(self.values)), MISSING, dtype=np.int64)
        for k, (column, indices) in enumerate(self.values.items()):
            categories[:, k] = _indexed([_name(row.get(column)) for row in rows], indices)
        return _batch(numbers, present, categories)

    def _columns(self, batch: Any, known: Set[str]) -> Batch | None:
        """The same of an Arrow batch; None if a cell is no finite number, as rows tell."""
        for column in batch.schema.names:
            if column not in known:
                raise DataError(f"the training split had no column {column!r}; {one_of(known, column)}")
        given = {name: _Cells(batch.column(name)) for name in batch.schema.names}
        if not all(cells.finite for cells in given.values()):
            return None
        numbers = np.zeros((batch.num_rows, len(self.scales)), dtype=np.float32)
        present = np.zeros(numbers.shape, dtype=bool)
        for n, (column, (mean, deviation)) in enumerate(self.scales.items()):
            if (cells := given.get(column)) is None:
                continue
            if not cells.numeric:
                if cells.present.any():
                    return None
                continue
            present[:, n] = cells.present
            scaled = np.where(cells.present, (np.where(cells.present, cells.numbers, 0.0) - mean) / deviation, 0.0)
            numbers[:, n] = np.clip(scaled, -FAR, FAR)
        categories = np.full((batch.num_rows, len(self.values)), MISSING, dtype=np.int64)
        for k, (column, indices) in enumerate(self.values.items()):
            if (cells := given.get(column)) is not None:
                codes, names = cells.coded()
                categories[:, k] = np.array([*_indexed(names, indices), MISSING])[codes]
        return _batch(numbers, present, categories)

    def example(self, generator: Generator) -> Row:
        """A row of the columns of the training split: numbers about the mean of each, categories drawn at random."""
        noise = torch.randn(len(self.scales), generator=generator).tolist()
        row: dict[str, Cell] = {
            column: bool(drawn > 0) if column in self.flags else mean + deviation * drawn
            for drawn, (column, (mean, deviation)) in zip(noise, self.scales.items(), strict=True)
        }
        for column, indices in self.values.items():
            place = int(torch.randint(max(1, len(indices)), (), generator=generator))
            row[column] = list(indices)[place] if indices else None
        return row

    def state(self) -> dict[str, Any]:
        """The columns in order: mean and deviation of numbers, values of categories, what is not read; and the rows."""
        return {
            "numbers": [{"column": c, "mean": mean, "deviation": std} for c, (mean, std) in self.scales.items()],
            "categories": [{"column": c, "values": list(indices)} for c, indices in self.values.items()],
            "flags": sorted(self.flags),
            "unread": list(self.unread),
            "rows": self.rows,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.scales = {entry["column"]: (entry["mean"], entry["deviation"]) for entry in state["numbers"]}
        self.values = {entry["column"]: _indices(entry["values"]) for entry in state["categories"]}
        self.flags = frozenset(state["flags"])
        self.unread = tuple(state["unread"])
        self.rows = state["rows"]

    def _categories(self, counts: Mapping[str | None, int]) -> dict[str, int]:
        return _indices(sorted(name for name, count in counts.items() if name is not None and count >= self.min_count))


class _Cells:
    """The cells of an Arrow column: numbers, or a dictionary of names."""

    def __init__(self, column: Any) -> None:
        self._column = column
        self.numeric = not hasattr(column, "dictionary")
        self.present = column.is_valid().to_numpy(zero_copy_only=False)  # [B]

    @cached_property
    def numbers(self) -> Array:
        """[B] float64, NaN where missing."""
        return self._column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)

    @cached_property
    def finite(self) -> bool:
        """Whether there is no number that is not finite."""
        return not (self.numeric and np.isinf(self.numbers).any())

    def coded(self) -> tuple[Array, list[str | None]]:
        """Numbers [B] of names, and the names; a missing cell is -1, the last."""
        if self.numeric:
            distinct, codes = np.unique(np.where(self.present, self.numbers, 0.0), return_inverse=True)
            names = [_name(cell) for cell in distinct.tolist()]
        else:
            codes = self._column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            names = [_name(cell) for cell in self._column.dictionary.to_pylist()]
        return np.where(self.present, codes, -1), names

    def counted(self) -> tuple[list[str | None], list[int]]:
        """The names that occur, and how often."""
        codes, names = self.coded()
        counts: Counter[str | None] = Counter()
        for name, count in zip(names, np.bincount(codes[codes >= 0], minlength=len(names)).tolist(), strict=True):
            counts[name] += count
        found = {name: count for name, count in counts.items() if count}
        return list(found), list(found.values())


def _indexed(names: Sequence[str | None], indices: Mapping[str, int]) -> list[int]:
    """The index of each name."""
    folded = {name.lower(): name for name in indices}
    if len(folded) == len(indices) and folded.keys() <= {"true", "false"}:  # however yes and no are written
        names = [None if n is None else folded.get(BOOLS.get(n.lower(), n), n) for n in names]
    return [MISSING if name is None else indices.get(name, UNKNOWN) for name in names]


def _batch(numbers: Array, present: Array, categories: Array) -> Batch:
    mask = present.any(1) | (categories != MISSING).any(1)
    leaves = {"numbers": numbers, "present": present, "categories": categories, "mask": mask}
    return {name: torch.from_numpy(leaf) for name, leaf in leaves.items()}


def _indices(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names, start=UNKNOWN + 1)}


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _number(column: str, cell: Cell) -> float | None:
    if cell is None:
        return None
    if isinstance(cell, (str, bool)):
        raise DataError(f"column {column!r} is one of numbers; got {cell!r}")
    try:
        return float(cell)
    except OverflowError as error:
        raise DataError(f"column {column!r} holds a number too large to compute with") from error


def _name(cell: Cell) -> str | None:
    """A cell as a category, by the same rules as a class.

    3.0 is 3, as tables turn whole numbers into floats where a cell is missing. Of a text, space around it and the way
    its accents are encoded count for nothing.
    """
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return None if cell is None else unicodedata.normalize("NFC", str(cell)).strip()


def _scale(column: str, numbers: Array) -> tuple[float, float]:
    """Mean and standard deviation of a column [N] in float64; the deviation of equal numbers counts as 1."""
    if (numbers == numbers[0]).all():  # the deviation of equal floats need not come out as zero
        return float(numbers[0]), 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(numbers.mean()), float(numbers.std())
    if not np.isfinite([mean, deviation]).all():
        raise DataError(f"column {column!r} holds numbers too large to compute with")
    return mean, deviation or 1.0
