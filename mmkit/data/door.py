"""The door of all data: samples as a task gives them, brought to plain columns that are read by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from pathlib import PurePath
from typing import Any

import numpy as np

from mmkit.contract import Samples
from mmkit.errors import DataError
from mmkit.modalities.arrays import is_gap


def plain_samples(samples: Samples) -> Samples:
    """The same samples: ids and truth as lists, and every column one whose `column[i]` is the value of sample i.

    A column of pandas is read by its positions, whatever its index says; a frame is a column of rows. Numbers and paths
    that are ids become plain ones; a truth that says itself that it is missing (`pandas.NA`, a masked element) becomes
    None.

    Raises:
        DataError: a column has no order, or an id is neither a string nor a whole number.
    """
    truth = by_position(samples.truth, "truth")
    return Samples(
        [_id(one) for one in by_position(samples.ids, "ids")],
        {name: by_position(column, f"input {name}") for name, column in samples.inputs.items()},
        [None if is_gap(one) else one for one in truth],
        None if samples.groups is None else list(by_position(samples.groups, "groups")),
    )


def by_position(column: Any, what: str) -> Sequence[Any]:
    """A column whose values stand at 0, 1, 2, ...; one that is read lazily stays so.

    Args:
        column: as a task gives it.
        what: how messages call it.

    Raises:
        DataError: it is a single string, or has no order.
    """
    unordered = isinstance(column, str | bytes | Mapping | Set) or getattr(column, "ndim", 1) == 0
    indexed = isinstance(column, Sized) and hasattr(column, "__getitem__")
    if unordered or not (indexed or isinstance(column, Iterable)):
        raise DataError(f"{what}: give a list of one value a sample, in one order; got a {type(column).__name__}")
    if hasattr(column, "iloc"):  # pandas: brackets ask for labels of its index, not for positions
        return list(column) if column.ndim == 1 else column.to_dict("records")
    if hasattr(column, "to_pylist"):  # Arrow, whose elements are wrapped
        return list(column.to_pylist())
    if isinstance(column, np.ma.MaskedArray):
        return [None if np.ma.getmaskarray(value).all() else value for value in column]
    kept: Sequence[Any] = column if indexed else list(column)  # a generator can be read once only
    return kept


def _id(one: Any) -> Any:
    """A plain string or number, which a record can hold."""
    if isinstance(one, PurePath):
        return one.as_posix()
    if isinstance(one, tuple):
        return tuple(_id(part) for part in one)
    plain = one.item() if not isinstance(one, str) and getattr(one, "ndim", None) == 0 else one
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)  # a column of whole numbers that once had a gap
    if isinstance(plain, str):
        return str(plain)
    if not isinstance(plain, int):
        raise DataError(f"an id is a string or a whole number; got {one!r}: give str(id), one a sample")
    return plain
