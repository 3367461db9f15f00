"""A table in pieces of so many rows each, whatever its size: one piece is in memory at a time.

Parquet, CSV and JSON lines are read piece by piece, Arrow files are mapped. A folder, and a table in memory, are read
as they are for training.

Axes: N rows of a piece.
"""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mmkit.errors import DataError, UsageError
from mmkit.plugin import ModalitySpec
from mmkit.registry.catalog import Catalog
from mmkit.sources.formats import (
    ARROW,
    CELL,
    DELIMITED,
    LINES,
    checked,
    extension,
    flat,
    parts_of,
    plain_file,
    table_of_rows,
    told,
    unique,
    without_rows,
)
from mmkit.sources.memory import PREFIX, Column, hold
from mmkit.sources.reading import read, stamp
from mmkit.system.files import at_home
from mmkit.system.hashing import fingerprint

PIECE = 4096
"""Rows that are read, predicted and written at once."""


@dataclass(frozen=True)
class Piece:
    """Rows of a table.

    Args:
        start: the number of the first of them.
        columns: N values each, by name.
    """

    start: int
    columns: dict[str, Column]

    @property
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class Stream:
    """A table that is read piece by piece; each time anew.

    Args:
        data: a path, or the name of a table in memory.
        media: the extensions of files of each modality, by modality.
        files: where relative names of files begin; None is the folder of the table.
        outside: True where what lies outside of that folder may be read.
        size: rows of a piece.
    """

    data: str
    media: Mapping[str, Sequence[str]]
    files: str | None = None
    outside: bool = False
    size: int = PIECE

    @property
    def name(self) -> str:
        """How messages call it."""
        return "the table" if self.in_memory else self.data

    @property
    def in_memory(self) -> bool:
        """Whether no other process can read it."""
        return self.data.startswith(PREFIX)

    @property
    def folder(self) -> Path:
        """Where relative names of files begin."""
        if self.files is not None:
            return Path(self.files)
        path = Path(self.data)
        return Path() if self.in_memory else path if path.is_dir() else path.parent

    @property
    def fingerprint(self) -> str:
        """What changes when the table does: sizes and times of its files, found without opening any."""
        return self.data if self.in_memory else fingerprint(str(stamp(self.data)))

    def count(self) -> int | None:
        """How many rows there are, where that is known without reading them."""
        path = Path(self.data)
        if self.in_memory or path.is_dir() or extension(path) not in {".parquet", ".pq"}:
            return None
        with told(path):
            found: int = pa.parquet.read_metadata(path).num_rows
            return found

    def has(self, name: str, piece: Piece) -> bool:
        """Whether the table has a column, by its first piece; of JSON lines others may have what that one lacks.

        Raises:
            DataError: the table cannot be read.
        """
        path = Path(self.data)
        varies = not self.in_memory and path.is_file() and extension(path) in LINES
        return name in piece.columns or (varies and any(name in other.columns for other in self.pieces(1)))

    def pieces(self, first: int = 0) -> Iterator[Piece]:
        """The rows in order, `size` of them at a time, but for the last.

        Args:
            first: the number of the piece to begin with; none is given where there are no more than so many.

        Raises:
            DataError: the table is not there, cannot be read, or has no row.
        """
        path = Path(self.data)
        by_piece = not self.in_memory and path.is_file() and extension(path) in _PIECEWISE
        if not by_piece:
            source = read(self.data, self.media, files=self.files, outside=self.outside, labelled=False)
            for start in range(first * self.size, source.rows, self.size):
                yield Piece(start, {name: column[start : start + self.size] for name, column in source.columns.items()})
            return
        plain_file(path)
        start = first * self.size
        for table in _recut(_tables(path, start), self.size):
            unique(table.column_names, path)
            yield Piece(start, dict(zip(table.column_names, table.columns, strict=True)))
            start += len(table)
        if start == 0:
            raise DataError(f"{self.data} has no row")


def stream_of(
    data: Any, catalog: Catalog, *, files: str | os.PathLike[str] | None = None, outside: bool = False
) -> Stream:
    """A table that is read piece by piece.

    Args:
        data: a path, `~/` at its beginning being the home folder; or a table in memory, as `mmkit.inspect` takes it.
        catalog: of the modalities, which know their files.
        files: where relative names of files begin; None is the folder of the table.
        outside: True where what lies outside of that folder may be read.

    Raises:
        UsageError: it is neither, or `files` is no folder.
    """
    within = None if files is None else _at_home(files)
    if within is not None and not Path(within).is_dir():
        raise UsageError(f"--files takes a folder; there is none at {within}")
    specs = [entry.spec for entry in catalog.available("modality")]
    media = {spec.name: spec.extensions for spec in specs if isinstance(spec, ModalitySpec) and spec.extensions}
    given = _at_home(data) if isinstance(data, str | os.PathLike) else hold(data)
    return Stream(str(given), media, within, outside)


def _at_home(path: str | os.PathLike[str]) -> str:
    """The path; of one that begins with `~/`, that in the user's home folder, as in the options of components."""
    text = os.fspath(path)
    return str(at_home(text)) if text.startswith("~/") else text


_PIECEWISE = (*DELIMITED, *LINES, ".parquet", ".pq", *ARROW)


def _tables(path: Path, over: int) -> Iterator[pa.Table]:
    """The table of a file in parts, without so many rows at the beginning."""
    if extension(path) not in LINES:
        yield from parts_of(path, over)
        return
    with told(path):
        yield from without_rows(_lines(path), over)


def _lines(path: Path) -> Iterator[pa.Table]:
    """JSON lines, or one array of objects, which is read whole."""
    with io.TextIOWrapper(pa.input_stream(str(path)), "utf-8-sig") as text:
        first = text.readline(CELL)
        while first and not first.strip():
            first = text.readline(CELL)
        if not first:
            raise DataError(f"{path} is empty; expected one JSON object a line")
        try:
            if first.lstrip().startswith("["):
                rows: Iterable[object] = json.loads(first + text.read())
            else:
                rows = (json.loads(line) for line in itertools.chain([first], text) if line.strip())
            numbered = enumerate(rows, 1)
            while piece := list(itertools.islice(numbered, PIECE)):
                yield checked(flat(table_of_rows([_object(row, number, path) for number, row in piece], path)))
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not JSON: {error}; expected one JSON object a line") from error


def _object(row: object, number: int, path: Path) -> Mapping[str, object]:
    if not isinstance(row, dict):
        raise DataError(f"row {number} of {path} is a {type(row).__name__}; expected an object of column and value")
    return row


def _recut(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of so many rows; columns that a table lacks are null, where they are cut together."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        start = 0
        while rows + len(table) - start >= size:
            end = start + size - rows
            yield _joined([*held, table.slice(start, end - start)])
            held, rows, start = [], 0, end
        if start < len(table):
            held.append(table.slice(start))
            rows += len(table) - start
    if held:
        yield _joined(held)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
