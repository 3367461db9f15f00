"""The pieces of many texts at once, where all are ASCII: found by their bytes, without a string for each piece.

Axes: N texts, P pieces of all of them, V different ones, L bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

WORTHWHILE = 256
"""Texts from which it is faster to cut them together."""
_TEXTS, _LETTERS = 16_384, 8 * 2**20  # that are cut together at most
_BETWEEN, _WITHIN, _ALONE = 0, 1, 2
_LETTERS_AND_DIGITS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def kinds_of_bytes(within: bytes, alone: bytes) -> Array:
    """[256]: which bytes are parts of words, which are pieces of their own, and which only part pieces (the others)."""
    kinds = np.full(256, _BETWEEN, np.uint8)
    kinds[list(alone)] = _ALONE
    kinds[list(within)] = _WITHIN
    return kinds


PIECES = kinds_of_bytes(_LETTERS_AND_DIGITS + b"_", bytes(range(0x21, 0x7F)))
"""Of ASCII, as `pieces.py` cuts it: words, and signs alone."""
WORDS = kinds_of_bytes(_LETTERS_AND_DIGITS, b"")
"""Of ASCII, letters and digits alone."""
SPACED = kinds_of_bytes(bytes(set(range(256)) - {0x20}), b"")
"""Whatever stands between spaces."""

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32


class Pieces(NamedTuple):
    """The pieces of texts.

    Args:
        codes: [P] the place of each piece among the different ones.
        names: [V] the different ones, in the order in which they occur.
        counts: [N] how many pieces each text has.
    """

    codes: Array
    names: list[str]
    counts: Array


def cut(data: Array, ends: Array, kinds: Array, *, lowercase: bool) -> Pieces:
    """The pieces of texts that lie behind one another.

    Args:
        data: [L] bytes; one that parts pieces stands behind each text.
        ends: [N] where that byte is, of each text.
        kinds: [256] of bytes.
        lowercase: whether capital letters of ASCII are small ones.
    """
    import pyarrow as pa  # noqa: PLC0415 (heavy, and few texts need none)

    kind = kinds[data]
    solid = kind != _BETWEEN
    begins = solid.copy()
    begins[1:] &= (kind[1:] == _ALONE) | (kind[:-1] != _WITHIN)
    letters = data[solid]
    if lowercase:
        letters = _LOWER[letters]
    offsets = np.append(np.flatnonzero(begins[solid]), len(letters)).astype(np.int64)
    # Arrow's C++ finds the different ones; a dictionary of Python takes five times as long.
    every = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(letters))
    coded = every.dictionary_encode()
    before = np.searchsorted(np.flatnonzero(begins), ends)
    return Pieces(coded.indices.to_numpy(), coded.dictionary.to_pylist(), np.diff(before, prepend=0))


def cut_ascii(texts: Sequence[str], *, lowercase: bool) -> Pieces:
    """The pieces of texts of ASCII, as `pieces.pieces` gives them.

    >>> cut_ascii(["Don't!", "", "a b a"], lowercase=True).names
    ['don', "'", 't', '!', 'a', 'b']
    """
    data = np.frombuffer("\n".join([*texts, ""]).encode("ascii"), np.uint8)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return cut(data, np.cumsum(lengths + 1) - 1, PIECES, lowercase=lowercase)


def batches(values: Iterable[str | None]) -> Iterator[list[str]]:
    """The texts that are there, in lists that are worth to be cut together and small in memory."""
    rest = iter(values)
    while several := list(islice(rest, _TEXTS)):
        batch: list[str] = []
        size = 0
        for text in several:
            if text is None:
                continue
            if size + len(text) > _LETTERS and batch:
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += len(text)
        if batch:
            yield batch
