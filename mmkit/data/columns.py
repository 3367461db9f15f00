"""Columns: the values of one input over the samples of a split, identified by their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from mmkit.data.decoded import Decoded, Flags, Origin
from mmkit.system.hashing import digest


class Column(Sequence[Any]):
    """Decoded values in the order of their samples; None is a missing one. They must not be changed.

    They are in memory, or decoded whenever they are asked for. Work on a column is shared by its `fingerprint`, so that
    columns of equal content share it.

    Args:
        values: decoded.
        source: the same values, decoded whenever they are asked for, where they are in memory because they are few.

    >>> Column(["a cat", None]).fingerprint == Column(["a cat", None]).fingerprint
    True
    """

    def __init__(self, values: Iterable[Any], source: Decoded | None = None) -> None:
        self._values: Decoded | list[Any] = values if isinstance(values, Decoded) else list(values)
        self.source = self._values if isinstance(self._values, Decoded) else source

    @staticmethod
    def of(values: Sequence[Any]) -> Column:
        """The values as a column: themselves if they are one already."""
        return values if isinstance(values, Column) else Column(values)

    @property
    def lazy(self) -> Decoded | None:
        """The values that are decoded when they are asked for; None if they are in memory."""
        return self._values if isinstance(self._values, Decoded) else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content, computed at the first use.

        Raises:
            TypeError: a value is of a type that cannot be hashed by its content.
        """
        return digest(self._values) if isinstance(self._values, list) else self._values.fingerprint

    @cached_property
    def origin(self) -> Origin | None:
        """The table that the values are of, and the number of each row; None where that is not known."""
        try:
            return None if self.source is None else self.source.origin
        except TypeError:
            return None

    def same(self, other: Column) -> bool:
        """Whether both columns have equal content; if it cannot be hashed, whether they are the same object."""
        if self is other:
            return True
        try:
            return len(self) == len(other) and self.fingerprint == other.fingerprint
        except TypeError:
            return False

    def take(self, index: Iterable[int]) -> Column:
        """A column of the values at the given positions."""
        if isinstance(self._values, Decoded):
            return Column(self._values.subset(index))
        chosen = list(index)
        values = [self._values[i] for i in chosen]
        return Column(values, None if self.source is None else self.source.subset(chosen))

    def joined(self, other: Sequence[Any]) -> Column:
        """These values and then the others; of a column that is read lazily none is read for it, where that can be."""
        one, source = self.source, Column.of(other).source
        joined = None if one is None or source is None else one.joined(source)
        if joined is not None and not (self.lazy is None and Column.of(other).lazy is None):
            return Column(joined)
        return Column([*self, *other], joined)

    def gaps(self) -> Flags:
        """[N] bool: True where a value is missing. One that could not be read is, as far as that is known."""
        if isinstance(self._values, Decoded):
            return self._values.gaps()
        return np.fromiter((value is None for value in self._values), bool, len(self))

    @property
    def arrow(self) -> Any:
        """Reads rows of a table column by column, where the values are so: `arrow(index, names)`; else None."""
        return None if self.lazy is None else self.lazy.arrow

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = self._values[index]
        return Column(found) if isinstance(found, Decoded) else found

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"<Column of {len(self)} values>"
