"""Columns that are read value by value: cells of Arrow, files that cells name, rows of a table, objects of Python.

Axes: N rows of the source, S samples of a split.
"""

from __future__ import annotations

import base64
import binascii
import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, Protocol, overload, runtime_checkable
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa

from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing
from mmkit.sources.formats import CELL
from mmkit.sources.memory import fingerprint, of_arrow
from mmkit.sources.paths import located

Array = np.ndarray[Any, np.dtype[Any]]

FILE = 256 * 2**20
"""The most bytes of a file that a cell names."""
TOGETHER = 4096
"""Values that are read together."""
ENCODED = 64
"""Fewest characters of a string that is taken for bytes in base64."""


class Store(Protocol):
    """The values of all rows; several threads may ask at once."""

    @property
    def fingerprint(self) -> str:
        """A hash of all values, found without decoding any."""
        ...

    def value(self, row: int) -> Any:
        """The raw value of a row, None where it is missing.

        Raises:
            DataError: it must not be read.
        """
        ...

    def gaps(self, rows: Array) -> Array:
        """[S] bool: True where the value of a row is missing."""
        ...


@runtime_checkable
class Several(Protocol):
    """A store that reads several values faster together."""

    def take(self, rows: Array) -> list[Any]:
        """The raw values of some rows.

        Raises:
            DataError: one of them must not be read.
        """
        ...


class Lazy(Sequence[Any]):
    """The values of some rows of a store, each read when it is asked for.

    Args:
        store: of all rows.
        rows: [S] of them.
    """

    def __init__(self, store: Store, rows: Array) -> None:
        self.store = store
        self.rows = rows

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content, found without decoding any value."""
        state = blake2b(self.store.fingerprint.encode(), digest_size=16)
        state.update(np.ascontiguousarray(self.rows, dtype=np.int64).tobytes())
        return state.hexdigest()

    def subset(self, index: Sequence[int]) -> Lazy:
        """A column of the values at the given positions, of which none is read yet."""
        return Lazy(self.store, self.rows[np.asarray(index, dtype=np.int64)])

    def joined(self, other: object) -> Lazy | None:
        """These values and then the others, none of which is read; None where they are not of one store."""
        if not isinstance(other, Lazy) or other.store is not self.store:
            return None
        return Lazy(self.store, np.concatenate([self.rows, other.rows]))

    def gaps(self, index: Array | None = None) -> Array:
        """[S] bool: True where a value is missing, found without decoding any."""
        rows = self.rows if index is None else self.rows[index]
        return self.store.gaps(rows)

    @property
    def arrow(self) -> Callable[..., pa.RecordBatch] | None:
        """Reads rows of a table column by column: `arrow(index, names=None)`; None where values are no such rows."""
        found = self.store.arrow if isinstance(self.store, Rows) else None
        if found is None:
            return None
        return lambda index, names=None: found(self.rows[np.asarray(index, dtype=np.int64)], names)

    @property
    def numbers(self) -> Array | None:
        """[S] the rows, where each value is the number of its row; else None."""
        return self.rows if isinstance(self.store, Numbered) else None

    def take(self, index: Iterable[int]) -> list[Any]:
        """The values at the given positions."""
        rows = self.rows[np.fromiter(index, np.int64)]
        if isinstance(self.store, Several):
            return self.store.take(rows)
        return [self.store.value(row) for row in rows.tolist()]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        return self.store.value(int(self.rows[index]))

    def __iter__(self) -> Iterator[Any]:
        store = self.store
        for start in range(0, len(self), TOGETHER):
            rows = self.rows[start : start + TOGETHER]
            yield from store.take(rows) if isinstance(store, Several) else map(store.value, rows.tolist())

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Lazy column of {len(self)} values>"


class Cells:
    """The cells of an Arrow column as Python values.

    Args:
        column: [N].
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column
        self._chunks = column.chunks
        self._starts = np.cumsum([0, *map(len, self._chunks)]).tolist()

    @cached_property
    def fingerprint(self) -> str:
        """A hash of type and values."""
        return of_arrow(self._column)

    def gaps(self, rows: Array) -> Array:
        """[S] bool: True where a cell is null."""
        return _null(self._column)[rows]

    def take(self, rows: Array) -> list[Any]:
        """The cells of some rows: chunk by chunk, as Arrow would copy whole columns of many chunks.

        Raises:
            DataError: one of them must not be read.
        """
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(chunks, kind="stable")
        bounds = np.searchsorted(chunks[order], np.arange(len(self._chunks) + 1))
        found = np.empty(len(rows), object)
        for number, chunk in enumerate(self._chunks):
            here = order[bounds[number] : bounds[number + 1]]
            if len(here):
                found[here] = _listed(chunk.take(pa.array(rows[here] - self._starts[number])))
        return [self._checked(row, cell) for row, cell in zip(rows.tolist(), found.tolist(), strict=True)]

    def _checked(self, row: int, cell: Any) -> Any:
        if isinstance(cell, str | bytes) and len(cell) > CELL:
            raise DataError(f"row {row} holds {len(cell):,} bytes in one cell; at most {CELL:,} are read")
        return cell

    def value(self, row: int) -> Any:
        """The cell; Arrow's own look-up in a column of many chunks is far slower."""
        chunk = bisect.bisect_right(self._starts, row) - 1
        return self._checked(row, self._chunks[chunk][row - self._starts[chunk]].as_py())


class Media:
    """Images, sounds or videos: files that cells name, or the bytes that they hold.

    Args:
        column: [N] of names of files, bytes, data URIs, base64, or `{bytes, path}` as `datasets` has them.
        files: where relative names begin.
        outside: True where a name may lead out of that folder.
        deep: True where files are known by their content, and not by size and time.
    """

    def __init__(self, column: pa.ChunkedArray, files: Path, *, outside: bool = False, deep: bool = False) -> None:
        self._cells = Cells(column)
        self._length = len(column)
        self._files = files
        self._outside = outside
        self._deep = deep

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the cells, and of the size and time of the files that they name, or of their content."""
        state = blake2b(self._cells.fingerprint.encode(), digest_size=16)
        for row in range(self._length):
            cell = self._name(row)
            if cell is not None:
                path, what = located(cell, self._files, outside=self._outside)
                if what == "file" and self._deep:
                    state.update(f"content {_content(path)}".encode())
                    continue
                status = path.stat() if what == "file" else None
                state.update(f"{what} {status and (status.st_size, status.st_mtime_ns)}".encode())
        return state.hexdigest()

    def _name(self, row: int) -> str | None:
        """The name of the file of a row; None where there is none, or where the cell must not be read."""
        try:
            return self._named(row)
        except DataError:
            return None

    def _named(self, row: int) -> str | None:
        cell = self._cells.value(row)
        if isinstance(cell, Mapping):
            cell = None if cell.get("bytes") is not None else cell.get("path")
        return cell if isinstance(cell, str) and cell.strip() and _bytes_in(cell) is None else None

    def gaps(self, rows: Array) -> Array:
        """[S] bool: True where a cell is null, or blank."""
        return self._blank[rows]

    @cached_property
    def _blank(self) -> Array:
        null = self._cells.gaps(np.arange(self._length))
        for row in np.flatnonzero(~null).tolist():
            try:
                cell = self._cells.value(row)
            except DataError:
                continue
            if isinstance(cell, Mapping):
                cell = cell.get("bytes") if cell.get("bytes") is not None else cell.get("path")
            null[row] = cell is None or (isinstance(cell, str) and not cell.strip())
        return null

    def value(self, row: int) -> str | bytes | None:
        """The bytes, or the path of a plain file inside the folder."""
        cell = self._cells.value(row)
        if isinstance(cell, Mapping):
            cell = cell.get("bytes") if cell.get("bytes") is not None else cell.get("path")
        if cell is None or isinstance(cell, bytes):
            return cell
        if not isinstance(cell, str):
            raise DataError(f"expected the name of a file or bytes; got a {type(cell).__name__}")
        if not cell.strip():
            return None
        if (inside := _bytes_in(cell)) is not None:
            return inside
        path, what = located(cell, self._files, outside=self._outside)
        if what == "file":
            if (size := path.stat().st_size) > FILE:
                raise DataError(f"{cell} has {size:,} bytes; at most {FILE:,} are read")
            return str(path)
        if what == "missing":
            raise DataError(f"there is no file {cell} in {self._files}")
        raise DataError(f"{cell[:200]!r} {_REFUSED[what]}")


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, blake2b).hexdigest()
    except OSError as error:
        return f"{error.strerror}"


_REFUSED = {
    "outside": "lies outside of the folder; --outside allows that",
    "other": "is no plain file",
    "remote": "is on another machine; nothing is fetched",
    "invalid": "is no name of a file",
}


def _bytes_in(cell: str) -> bytes | None:
    """The bytes that a string holds itself, as a data URI or in base64."""
    cell = cell.strip()
    if cell.startswith("data:"):
        head, comma, rest = cell.partition(",")
        if not comma:
            raise DataError("a data URI has no comma, behind which its content stands")
        try:
            return _decoded(rest) if head.endswith(";base64") else unquote_to_bytes(rest)
        except binascii.Error as error:
            raise DataError(f"a data URI cannot be read: {error}") from error
    if len(cell) >= ENCODED and "." not in cell:
        try:
            return _decoded(cell)
        except (binascii.Error, ValueError):
            return None
    return None


def _decoded(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)


class Objects:
    """Python objects that Arrow refuses.

    Args:
        values: [N].
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the values, where they can be hashed by their content."""
        return fingerprint({"": list(self._values)})

    def gaps(self, rows: Array) -> Array:
        """[S] bool: True where an object says itself that it is none."""
        return np.fromiter((is_missing(self._values[row]) for row in rows.tolist()), bool, len(rows))

    def value(self, row: int) -> Any:
        """The object."""
        return self._values[row]


class Rows:
    """Rows of a table, put together from columns.

    Args:
        numbers: [N] float64 by name, NaN where a cell is missing.
        categories: [N] numbers of names, -1 where a cell is missing, with the names; by column.
    """

    def __init__(self, numbers: Mapping[str, Array], categories: Mapping[str, tuple[Array, Sequence[str]]]) -> None:
        self.numbers = dict(numbers)
        self.categories = dict(categories)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of names and values."""
        state = blake2b(digest_size=16)
        for name, numbers in sorted(self.numbers.items()):
            state.update(f"number {name!r}:".encode("utf-8", "backslashreplace"))
            state.update(np.ascontiguousarray(numbers).tobytes())
        for name, (codes, names) in sorted(self.categories.items()):
            state.update(f"category {name!r} {names!r}:".encode("utf-8", "backslashreplace"))
            state.update(np.ascontiguousarray(codes, dtype=np.int64).tobytes())
        return state.hexdigest()

    def gaps(self, rows: Array) -> Array:
        """[S] bool: True where every cell of a row is missing."""
        found = np.ones(len(rows), bool)
        for numbers in self.numbers.values():
            found &= np.isnan(numbers[rows])
        for codes, _ in self.categories.values():
            found &= codes[rows] < 0
        return found

    def arrow(self, rows: Array, names: Iterable[str] | None = None) -> pa.RecordBatch:
        """The cells of some rows, column by column: float64, or dictionaries of strings; null where missing.

        Args:
            rows: [S] of them.
            names: of the columns; None is all.
        """
        columns: dict[str, pa.Array] = {}
        for name in (*self.numbers, *self.categories) if names is None else names:
            if name in self.numbers:
                columns[name] = pa.array(self.numbers[name][rows], from_pandas=True)  # NaN is null
            else:
                codes, words = self.categories[name]
                chosen = codes[rows]
                indices = pa.array(chosen, pa.int32(), mask=chosen < 0)
                columns[name] = pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))
        return pa.record_batch(columns)

    def value(self, row: int) -> dict[str, float | str | None]:
        """The row: a number, a name or None a column."""
        cells: dict[str, float | str | None] = {}
        for name, numbers in self.numbers.items():
            number = numbers.item(row)
            cells[name] = None if number != number else number  # noqa: PLR0124 (NaN)
        for name, (codes, names) in self.categories.items():
            code = codes.item(row)
            cells[name] = None if code < 0 else names[code]
        return cells


class Numbered:
    """The number of each row, as a string."""

    fingerprint = "numbers of rows"

    def gaps(self, rows: Array) -> Array:
        """[S] bool: no row is without a number."""
        return np.zeros(len(rows), bool)

    def take(self, rows: Array) -> list[str]:
        """The numbers of some rows."""
        return [str(row) for row in rows.tolist()]

    def value(self, row: int) -> str:
        """The number."""
        return str(row)


def _listed(array: pa.Array) -> Array:
    """The cells as Python values; each stays one, though it may be a list."""
    found = np.empty(len(array), object)
    for place, cell in enumerate(array.to_pylist()):
        found[place] = cell
    return found


def _null(column: pa.ChunkedArray) -> Array:
    """[N] bool: True where a cell is null."""
    parts = [chunk.is_null().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.zeros(0, bool)
