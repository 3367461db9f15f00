"""The rows of a table as samples of a model: decoded, as tensors, and what of them cannot be used.

Axes: N rows of a piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmkit.contract import Samples
from mmkit.data.bad_values import is_mostly_broken, mostly_broken
from mmkit.data.missing import missing_values
from mmkit.errors import DataError
from mmkit.model.trained import MultimodalModel, Read
from mmkit.sources.columns import Lazy
from mmkit.sources.layout import Layout, Wrong
from mmkit.sources.streaming import Piece, Stream
from mmkit.sources.tabular import other_decimal
from mmkit.system.settings import OnError


class Unread(NamedTuple):
    """A value that could not be used.

    Args:
        row: its number in the table.
        column: or input that it stands in.
        reason: why.
    """

    row: int
    column: str
    reason: str


class Rows(NamedTuple):
    """The rows of a piece as samples.

    Args:
        read: those that the model can predict; ids are their places in the piece.
        unread: values that could not be used.
        missing: rows in which an input is missing, by input.
        raw: the values of the same rows as they stand in the table, by input.
        values: how many values were looked at, by what `unread` calls their column.
    """

    read: Read
    unread: list[Unread]
    missing: dict[str, int]
    raw: Mapping[str, Sequence[Any]]
    values: dict[str, int]


class Broken:
    """Counts of the values that were looked at, and of those that cannot be used, over all pieces of a table."""

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()
        self._broken: Counter[str] = Counter()
        self._examples: dict[str, Unread] = {}

    def add(self, values: Mapping[str, int], unread: Sequence[Unread]) -> None:
        """Count those of a piece."""
        self._values.update(values)
        self._broken.update(one.column for one in unread)
        for one in unread:
            self._examples.setdefault(one.column, one)

    def check(self, where: str) -> None:
        """Check that no column is mostly broken.

        Raises:
            DataError: of a column, or of an input, more than half of the values cannot be used.
        """
        for column, broken in self._broken.items():
            if is_mostly_broken(broken, self._values[column]):
                one = self._examples[column]
                example = f"row {one.row}: {one.reason}"
                what = column if column.startswith("input ") else f"column {column}"
                raise DataError(f"{where}, {mostly_broken(what, example, broken, self._values[column])}")


def layout_of(model: MultimodalModel, decimal: str | None = None) -> Layout:
    """How the inputs of a model are made of columns.

    Args:
        model: trained.
        decimal: the sign of fractions in the table, "point" or "comma"; None is that of training.
    """
    return Layout.of(model.layout, model.inputs, model.combination.encoders).with_decimal(decimal)


def decimal_hint(fitted: Mapping[str, Any], cell: Any) -> str:
    """What to write where a cell is a number with the other sign of fractions; empty where it is not."""
    cell = cell.as_py() if hasattr(cell, "as_py") else cell
    other = other_decimal(fitted, cell)
    return f"--decimal {other} reads numbers with decimal {other}s; " if other else ""


def rows_of(
    model: MultimodalModel,
    layout: Layout,
    stream: Stream,
    piece: Piece,
    on_error: OnError,
    truth: Sequence[Any] | None = None,
) -> Rows:
    """The rows of a piece, decoded and as tensors.

    Args:
        model: trained.
        layout: how its inputs are made of columns.
        stream: the table.
        piece: of it.
        on_error: what to do with a value that cannot be used.
        truth: [N] raw, where it is known; rows without it are left out then.

    Raises:
        DataError: a value cannot be used, and `on_error` is "fail".
    """
    stores, wrong = layout.stores(piece.columns, piece.rows, files=stream.folder, outside=stream.outside)
    if wrong and on_error == "fail":
        first = wrong[0]
        hint = decimal_hint(layout.columns.get(first.column, {}), piece.columns[first.column][first.row])
        raise DataError(
            f"{stream.name}, row {piece.start + first.row}, column {first.column}: {first.reason}, as it was in "
            f"training{_others(wrong)}; {hint}--on-error missing takes such values as missing, skip leaves out their "
            "rows"
        )
    unread = [Unread(piece.start + one.row, one.column, one.reason) for one in wrong]
    left = [row for row in range(piece.rows) if truth is None or truth[row] is not None]
    if on_error == "skip":
        left = sorted(set(left) - {one.row for one in wrong})
    index = np.array(left, dtype=np.int64)
    inputs = {name: Lazy(store, index) for name, store in stores.items()}
    samples = Samples([str(row) for row in left], inputs, [None if truth is None else truth[row] for row in left])
    try:
        read = model.decoded(samples, on_error, whole=False)
    except DataError as error:
        raise _in_table(error, stream, piece) from error
    unread += [Unread(piece.start + int(bad.sample), bad.column, bad.reason) for bad in read.bad]
    whole = Samples(read.samples.ids, read.samples.inputs, [True] * len(read.samples))  # all count
    kept = np.array([int(one) for one in read.samples.ids], np.int64)
    raw = {name: Lazy(store, kept) for name, store in stores.items()}
    values = {f"input {name}": len(index) - int(store.gaps(index).sum()) for name, store in stores.items()}
    for one in (one for one in layout.inputs if one.modality in {"table", "text", "series"}):
        there = {name: piece.columns[name] for name in one.columns if name in piece.columns}
        values |= {name: piece.rows - (0 if isinstance(c, list) else c.null_count) for name, c in there.items()}
    return Rows(read, unread, missing_values(whole, stores), raw, values)


def _others(wrong: Sequence[Wrong]) -> str:
    more = Counter(one.column for one in wrong)[wrong[0].column] - 1
    return f" ({more} more in the {'next' if more == 1 else 'following'} rows)" if more else ""


def _in_table(error: DataError, stream: Stream, piece: Piece) -> DataError:
    """The error with the number of the row in the table."""
    reasons = getattr(error, "reasons", None)
    if not reasons or not hasattr(error, "name"):
        return error
    sample, reason = next(iter(reasons.items()))
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return DataError(
        f"{stream.name}, row {piece.start + int(sample)}{more}, input {error.name}: {reason}; --on-error missing takes "
        "such values as missing, skip leaves out their rows"
    )
