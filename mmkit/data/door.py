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
    ids, truth = by_position(samples.ids, "ids"), by_position(samples.truth, "truth")
    groups: Any = samples.groups
    if isinstance(groups, Mapping):
        groups = {str(name): _labels(labels, f"groups {name}") for name, labels in groups.items()}
    elif groups is not None:
        groups = _labels(groups, "groups")
    return Samples(
        ids if is_lazy(ids) else [_id(one) for one in ids],
        {name: by_position(column, f"input {name}") for name, column in samples.inputs.items()},
        truth if is_lazy(truth) else [None if is_gap(one) else one for one in truth],
        groups,
    )


def _labels(column: Any, what: str) -> Sequence[Any]:
    labels = by_position(column, what)
    return labels if is_lazy(labels) else list(labels)


def is_lazy(column: Any) -> bool:
    """Whether a column is read value by value, see `Samples`; what it gives is plain already."""
    return hasattr(column, "subset")


def in_both(ids: Sequence[Any], other: Sequence[Any]) -> list[int]:
    """The places of those ids that are among the others, and of few more: two may have one hash by chance."""
    numbers = [getattr(one, "numbers", None) for one in (ids, other)]
    if any(one is None for one in numbers):
        here, there = (np.fromiter(map(hash, one), np.int64, len(one)) for one in (ids, other))
    else:
        here, there = id_hashes(ids), id_hashes(other)
    return np.flatnonzero(np.isin(here, there)).tolist()


def first_repeated(ids: Sequence[Any]) -> Any:
    """The first id that occurs again; None if each is unique."""
    hashes = id_hashes(ids)
    order = np.sort(hashes)
    repeated = np.unique(order[1:][order[1:] == order[:-1]])
    seen: set[Any] = set()
    for place in np.flatnonzero(np.isin(hashes, repeated)).tolist() if len(repeated) else ():
        if ids[place] in seen:
            return ids[place]
        seen.add(ids[place])
    return None


def id_hashes(ids: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """[N]: a number for each id, the same for equal ones: its own, where ids are numbers of rows; else Python's hash.

    It takes 8 bytes where an id takes 60. Numbers of rows are compared with their like alone.
    """
    own = getattr(ids, "numbers", None)
    return np.fromiter(map(hash, ids), np.int64, len(ids)) if own is None else np.asarray(own, np.int64)


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
