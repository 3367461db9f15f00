"""Hashes of samples by what their inputs hold, the same in every process: equal rows of two tables are found by them.

Text is known by its characters, numbers by their float64 value, a file by its bytes; what stands beside the inputs
takes no part. Two of n different samples get one hash by chance at n² in 2^65.

Axes: N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mmkit.data.content import TEXTS
from mmkit.errors import DataError
from mmkit.modalities.arrays import array_of, is_missing
from mmkit.system.hashing import feed, mixed

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Update = Callable[[Any], None]

MISSING = np.uint64(0x9E3779B97F4A7C15)
"""The hash of a value that is missing."""

_AT_ONCE = 4096
_PART = 2**20  # bytes of a file that are read at once


def row_hashes(columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, str], salt: bytes) -> Hashes:
    """A hash of the raw inputs of each sample, [N] uint64.

    Args:
        columns: [N] raw values each, by input; lazy ones are read part by part.
        kinds: the modality of each input; a string of one that is neither a text nor a table names a file.
        salt: at most 64 bytes; with another one all hashes are others.

    Raises:
        TypeError: a value of a type that cannot be known by its content.
    """
    return together(hashes_of_inputs(columns, kinds, salt))


def hashes_of_inputs(columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, str], salt: bytes) -> dict[str, Hashes]:
    """A hash of each raw value, [N] uint64 by input, `MISSING` where there is none; of what `row_hashes` takes.

    Raises:
        TypeError: a value of a type that cannot be known by its content.
    """
    found = {}
    for name in sorted(columns):
        column, key = columns[name], blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=salt)
        arrow = getattr(column, "arrow", None)
        parts = _of_rows(arrow, len(column), key) if arrow else _of_values(column, kinds.get(name, ""), key)
        found[name] = np.concatenate([np.zeros(0, np.uint64), *parts])
    return found


def together(inputs: Mapping[str, Hashes]) -> Hashes:
    """The hash of each sample, [N] uint64, made of those of its inputs."""
    found: Hashes = np.zeros(len(next(iter(inputs.values()), ())), np.uint64)
    for name in sorted(inputs):
        found = mixed(mixed(found) + inputs[name])
    return found


def _starts(size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _AT_ONCE, size)) for start in range(0, size, _AT_ONCE))


def _of_rows(arrow: Any, size: int, key: Any) -> Iterator[Hashes]:
    """The hashes of rows of a table, column by column."""
    for start, stop in _starts(size):
        batch = arrow(np.arange(start, stop))
        found: Hashes = np.zeros(stop - start, np.uint64)
        for name in sorted(batch.schema.names):
            own = np.uint64(_hash(key, name, "text"))
            column = batch.column(name)
            if hasattr(column, "dictionary"):
                words = [_hash(key, word, "text") for word in column.dictionary.to_pylist()]
                table = np.array([*words, MISSING], np.uint64)
                codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                cells = table[codes]
            else:
                numbers = column.to_numpy(zero_copy_only=False).astype(np.float64) + 0.0  # -0.0 is 0.0
                cells = np.where(np.isnan(numbers), MISSING, mixed(numbers.view(np.uint64)))
            found = mixed(mixed(found) + mixed(cells ^ own))
        yield found


def _of_values(column: Sequence[Any], kind: str, key: Any) -> Iterator[Hashes]:
    for start, stop in _starts(len(column)):
        try:
            values: list[Any] = list(column[start:stop])
        except DataError:  # one of them must not be read
            values = [_read(column, place) for place in range(start, stop)]
        yield np.array([MISSING if is_missing(one) else _hash(key, one, kind) for one in values], np.uint64)


def _read(column: Sequence[Any], place: int) -> Any:
    try:
        return column[place]
    except DataError as error:
        return str(error).encode()  # like no value that can be read


def _hash(key: Any, value: Any, kind: str) -> int:
    state = key.copy()
    _feed(state.update, value, kind)
    return int.from_bytes(state.digest(), "little")


def _feed(update: Update, value: Any, kind: str) -> None:
    if isinstance(value, PurePath) or (isinstance(value, str) and kind not in TEXTS):
        _feed_file(update, Path(value))
    elif isinstance(value, str):
        update(_text(value))
    elif isinstance(value, bytes | bytearray | memoryview):
        update(b"text:" if kind == "text" else b"bytes:")
        update(value)
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            update(_text(str(name)))
            if not is_missing(value[name]):
                _feed(update, value[name], kind)
    else:
        try:
            numbers = array_of(value)
        except ValueError:
            feed(update, value)
            return
        update(f"numbers {numbers.shape}:".encode())
        wide = np.complex128 if numbers.dtype.kind == "c" else np.float64
        update(np.ascontiguousarray(numbers, wide).tobytes())


def _text(text: str) -> bytes:
    return b"text:" + text.encode("utf-8", "surrogatepass")


def _feed_file(update: Update, path: Path) -> None:
    """The bytes of a file, as if they stood in the cell; its name where it cannot be read."""
    try:
        with path.open("rb") as file:
            update(b"bytes:")
            while part := file.read(_PART):
                update(part)
    except (OSError, ValueError):
        update(_text(str(path)))
