"""Tables that are in memory: frames of any library that speaks Arrow, and mappings of column to sequence.

Columns that Arrow refuses (Pillow images, arrays of several axes, values of mixed types) stay lists of Python.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import pyarrow as pa
from PIL import Image
from torch import Tensor

from mmkit.errors import DataError, UsageError
from mmkit.modalities.arrays import is_gap
from mmkit.sources.formats import flat, unique
from mmkit.system.files import utf8
from mmkit.system.hashing import digest

Column: TypeAlias = "pa.ChunkedArray | list[Any]"
"""A column as it was read: Arrow's, or a list of Python objects that Arrow refuses."""

PREFIX = "memory:"
"""How the name of a table begins that is in memory; its fingerprint follows."""
KEPT = 4
"""Tables in memory that are known by their names, the latest ones."""

_held: OrderedDict[str, Any] = OrderedDict()


def hold(data: Any) -> str:
    """Keep a table that was given in memory, and name it by its content, so that a task's options can name it.

    Raises:
        UsageError: it is no table.
        DataError: it cannot be read.
    """
    columns = columns_of(data)
    name = PREFIX + fingerprint(columns)
    _held[name] = columns
    _held.move_to_end(name)
    while len(_held) > KEPT:
        _held.popitem(last=False)
    return name


def held(name: str) -> dict[str, Column]:
    """The table that `hold` named so.

    Raises:
        DataError: this process holds none of that name.
    """
    if name not in _held:
        raise DataError(f"{name} was given in memory by another process, or long ago; give it again in Python")
    columns: dict[str, Column] = _held[name]
    return columns


def columns_of(data: Any) -> dict[str, Column]:
    """The columns of a table in memory.

    Args:
        data: a mapping of column to sequence, a list of rows (mappings of column to value), or anything with
            `__arrow_c_stream__` (pandas, polars, duckdb, pyarrow). Fields of mappings in cells are columns of their
            own, `place.city`; rows of an array of two axes are lists.

    Raises:
        UsageError: it is neither.
        DataError: columns of different lengths, or two of one name.
    """
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        data = {name: [row.get(name) for row in data] for name in dict.fromkeys(name for row in data for name in row)}
    if isinstance(data, Mapping):
        columns = {_name(name): _column(_name(name), values) for name, values in data.items()}
    elif hasattr(data, "__arrow_c_stream__"):
        columns = _of_frame(data)
    else:
        raise UsageError(
            "data is a path, a table (of pandas, polars, pyarrow, duckdb), a mapping of column to sequence or a list "
            f"of rows, each a mapping; got {_said(data)}"
        )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"columns have different lengths: {shown}; give one value a row, or None")
    parts = [part for name, column in columns.items() for part in _parts(name, column)]
    unique([name for name, _ in parts], "the table")
    return dict(parts)


def _said(data: Any) -> str:
    """What was given in place of a table."""
    if not isinstance(data, list):
        return f"a {type(data).__name__}"
    number, row = next(((number, row) for number, row in enumerate(data) if not isinstance(row, Mapping)), (0, None))
    return f"a list whose row {number} is a {type(row).__name__}" if data else "an empty list, which names no column"


def _parts(name: str, column: Column) -> list[tuple[str, Column]]:
    """A column with its name, or the fields of its mappings as columns of their own, as in a file."""
    if isinstance(column, list) or pa.types.is_primitive(column.type):
        return [(name, column)]
    table = flat(pa.table({name: column}))
    return list(zip(table.column_names, table.columns, strict=True))


def _of_frame(frame: Any) -> dict[str, Column]:
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        names = [_name(name) for name in getattr(frame, "columns", ())]
        if not names or not hasattr(frame, "__getitem__"):
            raise DataError(f"the table cannot be read: {' '.join(str(error).split())}") from error
        unique(names, "the table")
        return {name: _column(name, frame[given]) for name, given in zip(names, frame.columns, strict=True)}
    unique(table.column_names, "the table")
    kept = [name for name in table.column_names if not name.startswith("__index_level_")]  # the index of pandas
    return {name: table.column(name) for name in kept}


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise DataError(f"the name of a column is a string; got {name!r}")
    return name


def _column(name: str, values: Any) -> Column:
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, pa.Array):
        return pa.chunked_array([values])
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
        raise DataError(f"column {name} is a sequence of one value a row; got a {type(values).__name__}")
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray) and values.ndim == 2:
        values = list(values)  # rows of numbers, which Arrow takes
    try:
        made = pa.array(values, from_pandas=True)
        return made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        cells = [None if is_gap(value) else value for value in values]
    if all(cell is None or isinstance(cell, str | PurePath) for cell in cells):
        return _strings([None if cell is None else os.fspath(cell) for cell in cells])
    if all(cell is None or isinstance(cell, str | int | float) for cell in cells):
        return _strings([None if cell is None else str(cell) for cell in cells])
    return cells


def _strings(cells: Sequence[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array([None if cell is None else utf8(cell).decode() for cell in cells], pa.string())])


def fingerprint(columns: Mapping[str, Column]) -> str:
    """A hash of all columns, names and order included; of what cannot be hashed by its content, one of its own."""
    state = blake2b(digest_size=12)
    for name, column in columns.items():
        state.update(f"column {name!r} {len(column)}:".encode())
        state.update((_of_objects(column) if isinstance(column, list) else of_arrow(column)).encode())
    return state.hexdigest()


class _Sink:
    """A file that hashes what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.state = blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.state.update(data)
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""

    def close(self) -> None:
        self.closed = True


def of_arrow(column: pa.ChunkedArray) -> str:
    """A hash of an Arrow column: its type and its values, as Arrow's stream has them."""
    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), pa.schema([("", column.type)])) as stream:
        for start in range(0, len(column), 65_536):  # the same pieces, however the column is cut
            stream.write_table(pa.table({"": column.slice(start, 65_536)}).combine_chunks())
    return sink.state.hexdigest()


def _of_objects(column: Sequence[Any]) -> str:
    try:
        return digest([_plain(value) for value in column])
    except TypeError:
        return f"unknown {uuid4().hex}"


def _plain(value: Any) -> Any:
    """A value whose content can be hashed."""
    if isinstance(value, Image.Image):
        return [value.mode, value.size, value.tobytes()]
    if isinstance(value, PurePath):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value
