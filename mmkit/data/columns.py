"""The values of one input over the samples of a split, known by their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from mmkit.system.hashing import digest


class Column(Sequence[Any]):
    """Values in memory, in the order of their samples; None is a missing one. Nobody changes them.

    What was made of a column is found again by its `fingerprint`, so that two columns of the same content are one to
    whoever shares.

    Args:
        values: in memory.

    >>> Column(["a cat", None]).fingerprint == Column(["a cat", None]).fingerprint
    True
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = list(values)

    @staticmethod
    def of(values: Sequence[Any]) -> Column:
        """The column itself, or a new one of these values."""
        return values if isinstance(values, Column) else Column(values)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content, computed when it is first asked for.

        Raises:
            TypeError: a value is of a type that is not told apart by its content.
        """
        return digest(self._values)

    def same(self, other: Column) -> bool:
        """Whether both have the same content; where that cannot be told, whether they are one."""
        if self is other:
            return True
        try:
            return len(self) == len(other) and self.fingerprint == other.fingerprint
        except TypeError:
            return False

    def take(self, index: Iterable[int]) -> Column:
        """The values at these places."""
        return Column(self._values[i] for i in index)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"<Column of {len(self)} values>"
