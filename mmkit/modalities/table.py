"""Table rows: numbers and categories by column."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator

from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing

Cell = float | int | str | bool | None


class Table:
    """A raw value is a mapping of column to cell, or a row of pandas.

    In memory, cells are numbers, strings, booleans or None.
    """

    def decode(self, raw: Any) -> dict[str, Cell] | None:
        """The row, its empty cells (None, NaN, a blank string) None; None where every cell is empty, or NaN is given in
        place of the row.

        Raises:
            DataError: not a mapping, a column's name is no string, or a cell is none of the above.
        """  # noqa: D205 - one sentence
        if is_missing(raw):
            return None
        if not isinstance(raw, Mapping):  # rows of pandas, as iterrows and itertuples give them
            raw = next((made() for name in ("to_dict", "_asdict") if (made := getattr(raw, name, None))), raw)
        if not isinstance(raw, Mapping):
            raise DataError(f"a table row is a mapping of column to cell; got {type(raw).__name__}")
        row = {}
        for column, value in raw.items():
            if not isinstance(column, str):
                raise DataError(f"a column's name is a string; got {column!r}")
            row[column] = decode_cell(column, value)
        return row if any(cell is not None for cell in row.values()) else None

    def example(self, generator: Generator) -> dict[str, Cell]:
        """Two numbers and two categories, of which some cells are empty, but never all."""
        height, weight = torch.randn(2, generator=generator).tolist()
        shape, hole = torch.randint(3, (2,), generator=generator).tolist()
        row: dict[str, Cell] = {
            "height": height,
            "weight": 60 + 10 * weight,
            "shape": ("round", "square", "flat")[shape],
            "sold": bool(hole),
        }
        empty = int(torch.randint(12, (), generator=generator))
        if empty < len(row):
            row[list(row)[empty]] = None
        return row


def decode_cell(column: str, value: Any) -> Cell:
    """One cell as a plain number, string, bool or None.

    Raises:
        DataError: it is something else, or a number that is not finite.
    """
    if is_missing(value):
        return None
    if type(value) is float and math.isfinite(value):  # most cells are, and are known at once
        return value
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy scalar, or a tensor without axes
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"column {column!r} holds {value}; a number is finite")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, int, float)):
        return value
    raise DataError(f"column {column!r} holds a {type(value).__name__}; a cell is a number, a string, a bool or None")
