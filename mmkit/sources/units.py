"""What stays together when rows are split, in an order that hangs on names alone: groups, copies, single rows.

Axes: N rows.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa

from mmkit.errors import UsageError
from mmkit.sources.hashes import pieces
from mmkit.sources.types import usual

SPLITS = ("train", "validation", "test")
"""The splits by their numbers, 0, 1 and 2; a row in none of them, whose truth is missing, is -1."""

LEAST = 3
"""Units that a stratum must have to be in all splits; one of fewer only trains."""

_TOGETHER = 8  # hashes that one call gives


class Units:
    """What stays together, of the rows that are split.

    Args:
        strata: [N], -1 where a row takes no part.
        units: [N], or None where each row stands alone.
        names: [N], or None where rows are known by their numbers; so is a row whose name is missing.
        seed: of the hash.
    """

    def __init__(self, strata: np.ndarray, units: np.ndarray | None, names: pa.ChunkedArray | None, seed: int) -> None:
        known = strata >= 0
        keys = (_numbered(len(strata), seed) if names is None else _named(names, seed))[known]
        if units is None:
            self.of_row = np.arange(int(known.sum()))
            self.sizes = np.ones(len(self.of_row), np.int64)
            self.keys = keys
            self.strata = strata[known].astype(np.int64)
            return
        _, self.of_row = np.unique(np.asarray(units)[known], return_inverse=True)
        self.sizes = np.bincount(self.of_row)
        self.keys = np.full(len(self.sizes), np.iinfo(np.uint64).max)
        np.minimum.at(self.keys, self.of_row, keys)  # whichever of its rows comes first
        self.strata = _largest(self.of_row, strata[known].astype(np.int64))

    def by_stratum(self, held: np.ndarray) -> np.ndarray:
        """The split of each unit: of every stratum its share, and what is rounded is made up for by the next."""
        order = np.lexsort((self.keys, self.strata))
        starts = np.flatnonzero(np.diff(self.strata[order], prepend=-1))
        found = np.zeros(len(order), np.int8)
        if (np.diff(starts, append=len(order)) < LEAST).all():  # no stratum can be in all: they are one
            order, starts = np.argsort(self.keys, kind="stable"), np.zeros(1, np.int64)
        owed = np.zeros(2)
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            if end - start < LEAST and len(starts) > 1:
                continue
            units = order[start:end]
            rows = self.sizes[units]
            middle = np.cumsum(rows) - rows / 2
            owed += held * rows.sum()
            test = middle < owed[1]
            owed[1] -= rows[test].sum()
            validation = ~test & (middle < rows[test].sum() + owed[0])
            owed[0] -= rows[validation].sum()
            found[units[test]], found[units[validation]] = 2, 1
        for side, share in ((2, held[1]), (1, held[0])):  # where units are few, each split has one all the same
            train = np.flatnonzero(found == 0)
            if share > 0 and not (found == side).any() and len(train) > 1:
                found[train[np.lexsort((self.keys[train], self.sizes[train]))[0]]] = side
        return found

    def by_time(self, times: np.ndarray, held: np.ndarray) -> np.ndarray:
        """The split of each unit: the latest rows test, those before them validate; cut between different times."""
        unknown = int((np.isnat(times) if times.dtype.kind in "mM" else np.isnan(times.astype(float))).sum())
        if unknown:
            have = "row has" if unknown == 1 else "rows have"
            raise UsageError(
                f"{unknown:,} {have} no time, so their order is not known; leave them out, or fill them in"
            )
        order = np.argsort(times, kind="stable")
        _, first = np.unique(self.of_row[order][::-1], return_index=True)
        latest = times[order][::-1][first]  # of each unit
        moments, of_unit = np.unique(latest, return_inverse=True)
        rows = np.bincount(of_unit, weights=self.sizes, minlength=len(moments))
        before = np.cumsum(rows) - rows  # rows that are earlier than each moment
        total = rows.sum()
        first_cut = np.abs(before - total * (1 - held.sum())).argmin()
        second_cut = np.abs(before - total * (1 - held[1])).argmin()
        if len(moments) >= len(SPLITS):  # then there is one for each
            first_cut = np.clip(first_cut, 1, len(moments) - 2)
            second_cut = np.clip(second_cut, first_cut + 1, len(moments) - 1)
        cuts = [first_cut, second_cut]
        return np.searchsorted(cuts, of_unit, side="right").astype(np.int8)


def _largest(of_row: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The stratum that most rows of each unit have, the smallest of several."""
    width = int(strata.max()) + 1
    pairs, counts = np.unique(of_row.astype(np.int64) * width + strata, return_counts=True)
    order = np.lexsort((pairs % width, -counts, pairs // width))
    _, first = np.unique(pairs[order] // width, return_index=True)
    return pairs[order][first] % width


def _numbered(rows: int, seed: int) -> np.ndarray:
    """A hash of seed and each number below `rows`, [N] uint64; eight of them a call."""
    start = blake2b(f"{seed}\0".encode(), digest_size=8 * _TOGETHER)
    found = bytearray()
    for block in range(-(-rows // _TOGETHER)):
        state = start.copy()
        state.update(block.to_bytes(8, "little"))
        found += state.digest()
    return np.frombuffer(bytes(found), "<u8")[:rows]


def _named(names: pa.ChunkedArray, seed: int) -> np.ndarray:
    """A hash of seed and each name, [N] uint64."""
    start = blake2b(f"{seed}\0".encode(), digest_size=8)
    found = []
    names = usual(names)
    if pa.types.is_nested(names.type):
        raise UsageError(f"names of rows and groups are strings or numbers; got values of the type {names.type}")
    if pa.types.is_temporal(names.type) and not pa.types.is_interval(names.type):
        names = names.cast(pa.string())
    for piece in pieces(names):
        coded = piece if isinstance(piece, pa.DictionaryArray) else piece.dictionary_encode()
        digests = bytearray()
        for name in [*coded.dictionary.to_pylist(), None]:  # the last is that of index -1, and used by none
            state = start.copy()
            state.update(str(name).encode(errors="surrogatepass"))
            digests += state.digest()
        index = coded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        found.append(np.frombuffer(bytes(digests), "<u8")[index])
    keys = np.concatenate(found) if found else np.zeros(0, np.uint64)
    nameless = ~names.is_valid().to_numpy()
    return np.where(nameless, _numbered(len(keys), seed), keys)
