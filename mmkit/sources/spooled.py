"""Large tables out of memory: written to a file of Arrow's without a name, and mapped.

The file lies in the folder of the cache, and is gone when the last column of it is, or the process ends, however it
does. So nothing has to be found again, checked or cleared.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmkit.errors import DataError
from mmkit.system.cache_folder import default_folder

Array = np.ndarray[Any, np.dtype[Any]]

LARGE = 32 * 2**20
"""Bytes of a file from which its table is spooled."""
SOME = 8 * 2**20
"""Bytes of an array from which it is spooled."""
ROWS = 65_536
"""Rows that are in memory at once."""


def spooled(schema: pa.Schema, batches: Iterable[pa.RecordBatch], where: object) -> pa.Table:
    """The table of the batches, mapped.

    Args:
        schema: of the batches.
        batches: each is written and forgotten.
        where: the source, for messages.

    Raises:
        DataError: the file cannot be written.
        pa.ArrowException: a batch cannot be read.
    """
    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".arrow", ".table-", folder)
        os.close(handle)
    except OSError as error:
        raise _cannot(where, folder, error) from error
    try:
        with _disk(where, folder):
            sink = pa.OSFile(name, "wb")
        with sink, pa.ipc.new_stream(sink, schema) as stream:  # a stream may have other dictionaries in each batch
            for batch in batches:
                with _disk(where, folder):
                    stream.write_batch(batch)
        return pa.ipc.open_stream(pa.memory_map(name)).read_all()
    finally:
        _forget(Path(name))


def spooled_array(array: Array, where: object) -> Array:
    """The array, mapped and not to be written to where it is large."""
    if array.nbytes < SOME:
        return array
    kept = spooled(_BYTES, [pa.record_batch([pa.array([array.tobytes()], pa.large_binary())], _BYTES)], where)
    return np.frombuffer(kept.column(0).chunk(0).buffers()[2], array.dtype, array.size).reshape(array.shape)


_BYTES = pa.schema([("", pa.large_binary())])


@contextlib.contextmanager
def _disk(where: object, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _cannot(where, folder, error) from error


def _cannot(where: object, folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{where} is too large for memory, and cannot be written to {folder}: {error.strerror or error}; make room "
        "there, or set MMKIT_CACHE to another folder"
    )


def _forget(path: Path) -> None:
    """Remove the name of a file that may still be mapped; where the system refuses that, at the end of the process."""
    try:
        path.unlink()
    except OSError:  # Windows keeps what is open
        atexit.register(path.unlink, missing_ok=True)
