"""The answers of a model to the rows of a table, piece by piece, as tables in the order of the rows.

Axes: N rows of a piece, B rows of a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import torch

from mmkit.contract import Batch, TruthTransform
from mmkit.errors import UsageError, one_of
from mmkit.model.table_rows import Rows, Unread, layout_of, rows_of
from mmkit.model.trained import MultimodalModel
from mmkit.sources.layout import Layout
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
        decimal: the sign of fractions in strings of the table, "point" or "comma"; None is that of training.
    """

    include: tuple[str, ...] = ()
    on_error: OnError = "fail"
    batch_size: int = 256
    decimal: str | None = None

    def __post_init__(self) -> None:
        Settings("cpu", on_error=self.on_error)  # checked there
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise UsageError(f"batch_size is 1 or more; got {self.batch_size!r}")


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
        self._layout = layout_of(model, asked.decimal)
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
        """Check the columns by the first piece."""
        self._layout.check(piece.columns, self._stream.name)
        for name in self._asked.include:
            if not self._stream.has(name, piece):
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
    names = found.column_names or _names(model, layout)
    columns: dict[str, Any] = {}
    name = layout.id if layout.id in piece.columns else None
    first = piece.columns[name] if name else pa.array(range(piece.start, piece.start + piece.rows))
    columns[free_name(name or ROW, names, {one for one in asked.include if one != (name or ROW)})] = first
    for one in dict.fromkeys(asked.include):
        if one != name:
            others = {other for other in asked.include if other != one}
            columns[free_name(one, {*columns, *names}, others)] = _arrow(one, piece.columns.get(one), piece.rows)
    columns |= {one: found.column(one).combine_chunks().take(kept) for one in found.column_names}
    absent = layout.absent(piece.columns, stream.name)
    return Answered(
        pa.table(columns), rows.unread, piece.rows - len(rows.read.samples), rows.missing, absent, rows.values
    )


def free_name(name: str, taken: Collection[str], others: Collection[str] = ()) -> str:
    """What a column of the table is called beside the answers: its name, with `_given` behind it until it is free.

    Args:
        name: of it.
        taken: names of other columns of the answers; one that has its name is kept apart from it.
        others: names that columns to come would like to keep, which it leaves to them.

    >>> free_name("label", ["row", "label"]), free_name("label", ["row", "label"], ["label_given"])
    ('label_given', 'label_given_given')
    """
    while name in taken or name in others:
        name += "_given"
    return name


def _names(model: MultimodalModel, layout: Layout) -> list[str]:
    """How answers are called, of a piece that has none, so that its other columns are called as in the other pieces."""
    truth = model.transforms.truth
    target = truth.target()
    leaf = {"classes": "probabilities", "labels": "probabilities", "scalar": "values"}.get(target.kind)
    if leaf is None:
        return []
    found: list[str] = columns_of(truth, {leaf: torch.zeros(0, target.size)}, layout).column_names
    return found


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
    names = number_names(layout.target)
    return pa.table({names.get(name, name): pa.array(values) for name, values in found.items()})


def number_names(target: Mapping[str, Any] | None) -> dict[str, str]:
    """What the columns of several numbers are called, `value_COLUMN`, by what the transform of the truth calls them.

    Args:
        target: how the truth was made of columns in training; None where it was made of none.
    """
    if target is None or target["kind"] != "scalar" or len(target["columns"]) == 1:
        return {}
    return {f"value_{place}": f"value_{name}" for place, name in enumerate(target["columns"])}


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
