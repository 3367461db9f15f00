"""The answers of a model to the rows of a table, piece by piece, as tables in the order of the rows.

Axes: N rows of a piece, B rows of a batch.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import torch

from mmkit.contract import Batch, Samples, TruthTransform
from mmkit.data.bad_values import is_mostly_broken, mostly_broken
from mmkit.data.missing import missing_values
from mmkit.errors import DataError, UsageError, one_of
from mmkit.model.trained import MultimodalModel, Read
from mmkit.sources.columns import Lazy
from mmkit.sources.layout import Layout, Wrong
from mmkit.sources.streaming import Piece, Stream
from mmkit.system.settings import OnError, Settings
from mmkit.system.state import own_state

ROW = "row"
"""The column with the number of a row, where the table has none that names it."""


@dataclass(frozen=True)
class Asked:
    """How a table is to be answered.

    Args:
        include: columns of the table that stand beside the answers.
        on_error: what to do with a value that cannot be read or transformed: "fail", "missing" or "skip".
        batch_size: rows that the model takes at once.
    """

    include: tuple[str, ...] = ()
    on_error: OnError = "fail"
    batch_size: int = 256

    def __post_init__(self) -> None:
        Settings("cpu", on_error=self.on_error)  # checked there
        if self.batch_size < 1:
            raise UsageError(f"batch_size is 1 or more; got {self.batch_size}")


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


class Answered(NamedTuple):
    """The answers to a piece of a table.

    Args:
        table: [N] a name of each row, included columns, answers; null where a row was skipped.
        unread: values that could not be used.
        skipped: rows without an answer.
        missing: rows in which an input is missing, by input.
        absent: a line on each column that the model reads and the piece lacks, by its name.
        values: as in `Rows`.
    """

    table: pa.Table
    unread: list[Unread]
    skipped: int
    missing: dict[str, int]
    absent: dict[str, str]
    values: dict[str, int]


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


def layout_of(model: MultimodalModel) -> Layout:
    """How the inputs of a model are made of columns."""
    return Layout.of(model.layout, model.inputs, model.combination.encoders)


class Reader:
    """Reads the pieces of a table by their numbers, and answers them. A context manager; its thread ends with it.

    Pieces are read in increasing numbers at no more cost than once through the table; a lower number begins anew.

    Args:
        model: trained.
        stream: the table.
        asked: how it is to be answered.
    """

    def __init__(self, model: MultimodalModel, stream: Stream, asked: Asked) -> None:
        self._model, self._stream, self._asked = model, stream, asked
        self._layout = layout_of(model)
        self._pieces: Iterator[Piece] | None = None
        self._next = 0
        # Everything is read in this thread, so that one piece can be read while another is answered and written.
        self._pool = ThreadPoolExecutor(1, "mmkit-reader", initializer=torch.set_num_threads, initargs=(1,))
        self._ahead: tuple[int, Future[tuple[Piece, Rows] | None]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, when what it reads has been read."""
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch.get_num_threads())  # later threads inherit it

    def answered(self, number: int, then: int | None = None) -> Answered | None:
        """The answers to a piece; None where the table has ended before.

        Args:
            number: of the piece.
            then: of the piece that will be asked for next, which is read meanwhile; None where nobody knows.

        Raises:
            UsageError: a column to include that the table does not have.
            DataError: the table cannot be read or has no column that the model reads; or a value cannot be used, and
                `on_error` is "fail".
        """
        if self._ahead is not None and self._ahead[0] == number:
            future = self._ahead[1]
        else:
            future = self._pool.submit(self._read, number)
        self._ahead = None if then is None else (then, self._pool.submit(self._read, then))
        if (found := future.result()) is None:
            return None
        return _answered(self._model, self._layout, self._stream, *found, self._asked)

    @own_state()
    def _read(self, number: int) -> tuple[Piece, Rows] | None:
        """A piece with its rows; None where there is none."""
        if self._pieces is None or number < self._next:
            self._pieces, self._next = self._stream.pieces(number), number
        for piece in self._pieces:
            if piece.start == 0:
                self._check(piece)
            self._next += 1
            if self._next > number:
                return piece, rows_of(self._model, self._layout, self._stream, piece, self._asked.on_error)
        return None

    def _check(self, piece: Piece) -> None:
        """Check the columns of the first piece; of JSON lines later ones may lack some."""
        self._layout.check(piece.columns, self._stream.name)
        for name in self._asked.include:
            if name not in piece.columns:
                raise UsageError(f"--include: {self._stream.name} has no column {name}; {one_of(piece.columns, name)}")


def answers(model: MultimodalModel, stream: Stream, asked: Asked) -> Iterator[Answered]:
    """The answers to a table, piece by piece.

    Args:
        model: trained.
        stream: the table.
        asked: how it is to be answered.

    Raises:
        UsageError: a column to include that the table does not have.
        DataError: the table cannot be read or has no column that the model reads; or a value cannot be used, and
            `on_error` is "fail".
    """
    with Reader(model, stream, asked) as reader:
        for number in itertools.count():
            found = reader.answered(number, number + 1)
            if found is None:
                return
            yield found


@own_state()
def _answered(
    model: MultimodalModel, layout: Layout, stream: Stream, piece: Piece, rows: Rows, asked: Asked
) -> Answered:
    batches = [
        columns_of(model.transforms.truth, batch, layout) for batch in model.predictions(rows.read, asked.batch_size)
    ]
    kept = pa.array([None] * piece.rows, pa.int64())
    if len(rows.read.samples):
        places = np.full(piece.rows, -1)
        places[[int(one) for one in rows.read.samples.ids]] = np.arange(len(rows.read.samples))
        kept = pa.array(places, pa.int64(), mask=places < 0)
    found = pa.concat_tables(batches, promote_options="permissive") if batches else pa.table({})
    columns: dict[str, Any] = {}
    name = layout.id if layout.id in piece.columns else None
    columns[name or ROW] = piece.columns[name] if name else pa.array(range(piece.start, piece.start + piece.rows))
    for one in asked.include:
        if one != name:
            taken = one in columns or one in found.column_names
            columns[f"{one}_given" if taken else one] = _arrow(one, piece.columns.get(one), piece.rows)
    columns |= {one: found.column(one).combine_chunks().take(kept) for one in found.column_names}
    absent = layout.absent(piece.columns, stream.name)
    return Answered(
        pa.table(columns), rows.unread, piece.rows - len(rows.read.samples), rows.missing, absent, rows.values
    )


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
        raise DataError(
            f"{stream.name}, row {piece.start + wrong[0].row}, column {wrong[0].column}: {wrong[0].reason}, as it was "
            f"in training{_others(wrong)}; --on-error missing takes such values as missing, skip leaves out their rows"
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


def columns_of(transform: TruthTransform, batch: Batch, layout: Layout) -> pa.Table:
    """The answers of a batch [B] as a table.

    Args:
        transform: of the truth.
        batch: what the head predicted.
        layout: which names several numbers.
    """
    if hasattr(transform, "columns"):
        found: Mapping[str, Any] = transform.columns(batch)
    else:
        found = _flat(transform.inverse(batch))
    names = {}
    if layout.target is not None and layout.target["kind"] == "scalar":
        names = {f"value_{i}": f"value_{name}" for i, name in enumerate(layout.target["columns"])}
    return pa.table({names.get(name, name): pa.array(values) for name, values in found.items()})


def _flat(given: Sequence[Any]) -> dict[str, list[Any]]:
    """Answers as columns: the entries of mappings, those within them as NAME_ENTRY; other answers as `answer`."""
    rows = [_entries(one) if isinstance(one, Mapping) else {"answer": one} for one in given]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _entries(answer: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in answer.items():
        within = isinstance(value, Mapping)
        found |= {f"{name}_{key}": one for key, one in _entries(value).items()} if within else {str(name): value}
    return found


def _arrow(name: str, column: Any, rows: int) -> Any:
    """A column that is copied beside the answers."""
    if column is None:  # JSON lines, of which a piece may lack a column
        return pa.nulls(rows)
    if isinstance(column, list):
        raise UsageError(f"--include {name}: it holds objects of Python, which no file takes; leave it out")
    return column
