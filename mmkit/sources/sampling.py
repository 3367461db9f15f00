"""Some values of a column, spread evenly over it, read chunk by chunk.

Nothing here calls `take` on a column of many chunks, which copies the whole of it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

MOST_ROWS = 10_000
MOST_BYTES = 64 * 2**20


def some(column: pa.ChunkedArray, rows: int = MOST_ROWS) -> pa.ChunkedArray:
    """At most so many values, and about 64 MiB, of those that are not null; in order, spread evenly."""
    if column.null_count > len(column) // 2:
        column = column.drop_null()
    count = len(column)
    known = max(1, column.nbytes // max(1, count))
    most = max(1, min(rows, MOST_BYTES // known))
    if count <= most:
        return column.drop_null()
    wanted = np.linspace(0, count - 1, most).astype(np.int64)
    return at(column, wanted).drop_null()


def at(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """The values of these rows, which rise."""
    found, start = [], 0
    for chunk in column.chunks:
        low, high = np.searchsorted(rows, (start, start + len(chunk)))
        if high > low:
            found.append(chunk.take(pa.array(rows[low:high] - start)))
        start += len(chunk)
    return pa.chunked_array(found, type=column.type)


def strings(column: pa.ChunkedArray) -> list[str]:
    """The values of a column of strings that are not blank, as Python has them."""
    return [text for text in column.to_pylist() if text is not None and text.strip()]
