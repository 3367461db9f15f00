"""What is asked of the data: the truth of every row, in one form for each kind of target.

Axes: N rows, C classes, labels or numbers a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.sources.memory import of_arrow
from mmkit.system.hashing import digest

TENTHS = 10
"""Parts that numbers are cut into, of which splits keep the shares."""


@dataclass(frozen=True, eq=False)
class Target:
    """The truth of every row.

    Args:
        kind: "classes", "labels", "scalar" or "text".
        values: of classes [N] int32, the number of the class in `names`, -1 where missing; of labels an Arrow list
            array [N] of int32, their numbers in `names`, null where missing; of scalar [N C] float64, a row of NaN
            where one of its numbers is missing; of text an Arrow array [N] of strings, null where missing or blank.
        names: the classes or labels [C], in order (numbers by size); the columns of a scalar target; () of text.
        counts: rows of each class or label [C]; () of others.
        missing: rows without truth, which are left out of every split.
        metric: the one that runs are compared by.
        reason: why it is this kind, and this metric.
        rare: classes with fewer than 3 rows, which are only trained on.
    """

    kind: str
    values: Any
    names: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    metric: str
    reason: str
    rare: tuple[str, ...] = ()

    def __len__(self) -> int:
        """N."""
        return len(self.values)

    @property
    def known(self) -> np.ndarray:
        """[N] bool: rows whose truth is there."""
        if self.kind == "classes":
            return np.asarray(self.values) >= 0
        if self.kind == "scalar":
            return ~np.isnan(self.values).any(1)
        return self.values.is_valid().to_numpy(zero_copy_only=False)

    @property
    def strata(self) -> np.ndarray:
        """[N] int32, what splits keep the shares of: the class; the rarest label of the row; of numbers the tenth.

        -1 where truth is missing; 0 for all texts. Several numbers a row go by the first.
        """
        known = self.known
        if self.kind == "classes":
            return np.asarray(self.values, np.int32)
        found = np.zeros(len(self), np.int32)
        if self.kind == "labels":
            found = _rarest(len(self), *self.pairs, np.array(self.counts))
        elif self.kind == "scalar" and known.any():
            first = self.values[:, 0]
            edges = np.quantile(first[known], np.arange(1, TENTHS) / TENTHS)
            found = np.searchsorted(np.unique(edges), first, side="left").astype(np.int32)
        found[~known] = -1
        return found

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and number of each label that a row of a target of labels has."""
        rows = pc.list_parent_indices(self.values).to_numpy(zero_copy_only=False)
        return rows, pc.list_flatten(self.values).to_numpy(zero_copy_only=False)

    def truth(self, row: int) -> Any:
        """The raw truth of one row, as the contract has it for this kind; None where it is missing."""
        value = self.values[row]
        if self.kind == "classes":
            return self.names[value] if value >= 0 else None
        if self.kind == "scalar":
            numbers = value.tolist()
            if numbers[0] != numbers[0]:
                return None
            return numbers[0] if len(numbers) == 1 else numbers
        plain = value.as_py()
        return [self.names[label] for label in plain] if self.kind == "labels" and plain is not None else plain


class Truths:
    """The truth of each row, as a store of a lazy column.

    Args:
        target: the truth of every row.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all truth."""
        values = self._target.values
        if isinstance(values, np.ndarray):
            return digest([*self._target.names, np.ascontiguousarray(values)])
        return digest(
            [
                *self._target.names,
                of_arrow(values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])),
            ]
        )

    def gaps(self, rows: np.ndarray) -> np.ndarray:
        """[S] bool: True where truth is missing."""
        return ~self._target.known[rows]

    def take(self, rows: np.ndarray) -> list[Any]:
        """The raw truth of some rows."""
        if self._target.kind == "classes":
            names = np.array([*self._target.names, None], object)  # of the class -1, the last
            found: list[Any] = names[self._target.values[rows]].tolist()
            return found
        return [self._target.truth(row) for row in rows.tolist()]

    def value(self, row: int) -> Any:
        """The raw truth of a row."""
        return self._target.truth(row)


def _rarest(count: int, rows: np.ndarray, flat: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The label of each row that fewest rows have; one more than the last where a row has none, [N] int32."""
    found = np.full(count, len(counts), np.int32)
    if len(flat):
        order = np.lexsort((flat, counts[flat], rows))
        first = np.unique(rows[order], return_index=True)[1]
        found[rows[order][first]] = flat[order][first]
    return found
