"""Hashes of the values of a column, by which equal ones are found: 16 MB for 2 million rows, whatever the values are.

They hold within one process (Python salts those of strings). Two of n different values get one hash by chance at n²
in 2^65, which is 1 in 10 million for 2 million rows.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.sources.types import is_list, usual
from mmkit.system.hashing import mixed

MISSING = np.uint64(0x9E3779B97F4A7C15)
"""The hash of a value that is missing."""

_ROWS, _BYTES = 65_536, 32 * 2**20


def pieces(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """The column as arrays of at most 64k rows and about 32 MiB, in order, without copying."""
    for chunk in column.chunks:
        rows = max(1, min(_ROWS, _BYTES * len(chunk) // max(1, chunk.nbytes)))
        for start in range(0, len(chunk), rows):
            yield chunk.slice(start, rows)


def with_starts(column: pa.ChunkedArray) -> Iterator[tuple[int, pa.Array]]:
    """Each of `pieces`, with the number of its first row."""
    start = 0
    for piece in pieces(column):
        yield start, piece
        start += len(piece)


def hashes(column: pa.ChunkedArray) -> np.ndarray:
    """A hash of each value, [N] uint64; `MISSING` for null and NaN."""
    column = usual(column)
    found = [np.zeros(0, np.uint64)]
    repeats = True  # as long as a value stands for several, each is hashed once a piece
    for piece in pieces(column):
        of_piece, repeats = _hashed(piece, repeats=repeats)
        found.append(of_piece)
    return np.concatenate(found)


def different(column: pa.ChunkedArray) -> int:
    """How many different values a column has, what is missing left out."""
    found = np.sort(hashes(column))  # np.unique is five times slower
    if not len(found):
        return 0
    place = int(np.searchsorted(found, MISSING))
    return 1 + int((found[1:] != found[:-1]).sum()) - int(place < len(found) and found[place] == MISSING)


def firsts(found: np.ndarray) -> np.ndarray:
    """The first row with the same hash, [N] int64."""
    order = np.sort(found)
    repeated = np.unique(order[1:][order[1:] == order[:-1]])
    first = np.arange(len(found))
    rows = np.flatnonzero(np.isin(found, repeated)) if len(repeated) else first[:0]  # few, as a rule
    _, place, of_row = np.unique(found[rows], return_index=True, return_inverse=True)
    first[rows] = rows[place][of_row]
    return first


def _hashed(array: pa.Array, *, repeats: bool) -> tuple[np.ndarray, bool]:
    """The hash of each value, and whether values repeat."""
    kind = array.type
    if is_list(kind):
        return _of_lists(array), True
    if pat.is_integer(kind) or pat.is_floating(kind) or pat.is_boolean(kind):
        return _of_numbers(array), True
    if pat.is_temporal(kind) and not pat.is_interval(kind):  # some are beyond what Python can say
        return _of_numbers(array.view(pa.int32() if kind.bit_width == 32 else pa.int64())), True
    if pat.is_nested(kind) or pat.is_interval(kind) or pat.is_null(kind):
        return _of_values([None if value is None else repr(value) for value in array.to_pylist()]), True
    if not (repeats or pat.is_dictionary(kind)):
        return _of_values(array.to_pylist()), False
    coded = array if pat.is_dictionary(kind) else array.dictionary_encode()
    table = np.append(_of_values(coded.dictionary.to_pylist()), MISSING)  # index -1 is the last: missing
    index = pc.fill_null(coded.indices.cast(pa.int64()), -1)
    return table[index.to_numpy(zero_copy_only=False)], len(table) < len(array) / 2


def _of_values(values: Sequence[Any]) -> np.ndarray:
    """Python's hash of each, [N] uint64; `MISSING` for None."""
    found = mixed(np.fromiter(map(hash, values), np.int64, len(values)).view(np.uint64))
    gaps = [place for place, value in enumerate(values) if value is None]
    found[gaps] = MISSING
    return found


def _of_numbers(array: pa.Array) -> np.ndarray:
    null = pc.is_null(array, nan_is_null=True).to_numpy(zero_copy_only=False)
    if pat.is_floating(array.type):
        plain = pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        bits = plain.view(np.uint64)
    elif pat.is_uint64(array.type):
        bits = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    else:
        bits = pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False).view(np.uint64)
    found = mixed(bits)
    found[null] = MISSING
    return found


def _of_lists(array: pa.Array) -> np.ndarray:
    lengths = pc.fill_null(pc.list_value_length(array), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    values, _ = _hashed(pc.list_flatten(array), repeats=True)
    found = of_sequences(values, np.maximum(lengths, 0))
    found[lengths < 0] = MISSING
    return found


def of_names(names: Sequence[str]) -> np.ndarray:
    """Python's hash of each name, its bits mixed; [N] uint64."""
    return mixed(np.fromiter(map(hash, names), np.int64, len(names)).view(np.uint64))


def of_sequences(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A hash of each of N sequences.

    Args:
        values: uint64, the hashes of their elements, one sequence behind the other.
        size: [N] int64, how many each has.
    """
    ends = np.cumsum(size)
    place = np.arange(len(values), dtype=np.int64) - np.repeat(ends - size, size)
    salted = mixed(values + mixed(place.astype(np.uint64) + np.uint64(1)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(salted, dtype=np.uint64)])
    return mixed(sums[ends] - sums[ends - size] + mixed(size.astype(np.uint64)))
