"""Values that are members of tars: an Arrow column says where each begins, and it is read from there.

Axes: N rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.errors import DataError
from mmkit.sources.memory import of_arrow

MEMBER = pa.struct(
    [
        ("tar", pa.string()),  # its path
        ("length", pa.int64()),  # of the tar, and the time of its last change, by which a changed one is noticed
        ("changed", pa.int64()),
        ("name", pa.string()),  # of the member
        ("offset", pa.int64()),  # of its first byte
        ("size", pa.int64()),
    ]
)
"""Where a value is."""

FILE = 256 * 2**20
"""The most bytes of a member."""


def is_member(kind: pa.DataType) -> bool:
    """Whether a type is that of members of tars."""
    return bool(pat.is_struct(kind) and kind == MEMBER)


def content(cell: dict[str, Any], most: int = FILE) -> bytes:
    """The bytes of a member, at most so many of them.

    Raises:
        DataError: the tar has changed or is gone, or the member is larger than a file may be.
    """
    tar, name, size = cell["tar"], cell["name"], cell["size"]
    if size > FILE:
        raise DataError(f"{name} in {tar} has {size:,} bytes; at most {FILE:,} are read")
    try:
        file = os.open(tar, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(f"{tar} cannot be read any more: {error.strerror}") from error
    try:
        status = os.fstat(file)
        if (status.st_size, status.st_mtime_ns) != (cell["length"], cell["changed"]):
            raise DataError(f"{tar} has changed since it was read; begin anew")
        return os.pread(file, min(size, most), cell["offset"])
    except OSError as error:
        raise DataError(f"{name} in {tar} cannot be read: {error.strerror}") from error
    finally:
        os.close(file)


class Members:
    """Images, sounds or videos that are members of tars.

    Args:
        column: [N] of `MEMBER`.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column
        self._chunks = column.chunks
        self._starts = np.cumsum([0, *map(len, self._chunks)])

    @cached_property
    def fingerprint(self) -> str:
        """A hash of sizes and times of the tars, and of where in them the values are; not of where the tars are."""
        state = blake2b(digest_size=16)
        for part in ("length", "changed", "offset", "size"):
            chunks = [pc.struct_field(chunk, part) for chunk in self._chunks]
            state.update(of_arrow(pa.chunked_array(chunks, pa.int64())).encode())
        return state.hexdigest()

    def gaps(self, rows: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        """[S] bool: True where there is no member."""
        found: np.ndarray[Any, np.dtype[Any]] = self._column.is_null().to_numpy()[rows]
        return found

    def value(self, row: int) -> bytes | None:
        """The bytes of the member."""
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        cell = self._chunks[chunk][row - int(self._starts[chunk])].as_py()
        return None if cell is None else content(cell)


def heads(column: pa.ChunkedArray, most: int) -> Iterator[tuple[str, bytes]]:
    """Name and first bytes of each member that there is."""
    for cell in column.to_pylist():
        if cell is not None:
            yield cell["name"], content(cell, most)


def ending(name: str) -> str:
    """The last extension of a member's name, with its dot, in lower case."""
    return Path(name).suffix.lower()
