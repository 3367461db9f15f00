"""Train, validation and test: stratified, by group, by time, or as given; the same rows always split the same way.

Axes: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from mmkit.errors import UsageError
from mmkit.sources.hashes import MISSING, firsts, hashes, pieces
from mmkit.sources.targets import Target
from mmkit.sources.types import is_text, usual

SPLITS = ("train", "validation", "test")
"""The splits by their numbers, 0, 1 and 2; a row in none of them, whose truth is missing, is -1."""

SHARES = (0.6, 0.15, 0.25)
"""Of train, validation and test."""

LIMITS = (100_000, 200_000)
"""The most rows of validation and of test: beyond, an answer hardly gets surer. The rest trains."""


LEAST = 3
"""Units that a stratum must have to be in all splits; one of fewer only trains."""

_WRITTEN = {
    **dict.fromkeys(("train", "training", "trn"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), 1),
    **dict.fromkeys(("test", "testing", "tst"), 2),
}
_TOGETHER = 8  # hashes that one call gives


def split(
    strata: np.ndarray,
    *,
    units: np.ndarray | None = None,
    names: pa.ChunkedArray | None = None,
    times: np.ndarray | None = None,
    given: np.ndarray | None = None,
    shares: Sequence[float] = SHARES,
    limits: tuple[int, int] = LIMITS,
    seed: int = 0,
) -> np.ndarray:
    """The split of each row.

    Rows of one unit stay together. Units are ordered by their largest stratum and a hash of seed and name, and each
    stratum is cut at the shares: the same names give the same splits, in whatever order the rows come.

    Args:
        strata: [N], what each split gets its share of (`Target.strata`); -1 where a row belongs to no split.
        units: [N] whole numbers, equal where rows belong together: a group, or copies; None where each stands alone.
        names: [N], the ids of rows (or the groups, with `units` made of them); None are the numbers of the rows.
        times: [N] datetime64 or numbers: the earliest train and the latest test, cut between different times. A unit
            is as late as its latest row.
        given: [N] splits to be kept. Where none of them is validation, it is cut from train.
        shares: of train, validation and test; they need not sum to 1.
        limits: most rows of validation and of test.
        seed: of the hash.

    Returns:
        [N] int8: 0 train, 1 validation, 2 test, -1 none of them.

    Raises:
        UsageError: a row has no time; shares or given splits leave a split empty.
    """
    strata = np.asarray(strata)
    known = strata >= 0
    if not known.any():
        raise UsageError("no row has truth, so there is nothing to split")
    if given is not None:
        return _kept(strata, np.asarray(given), units=units, names=names, shares=shares, limits=limits, seed=seed)
    made = Units(strata, units, names, seed)
    total = int(known.sum())
    parts = np.asarray(shares, float) / sum(shares)
    # The caps of validation and test; what is cut off there trains.
    held = np.minimum(parts[1:], np.asarray(limits) / total)
    sides = made.by_stratum(held) if times is None else made.by_time(np.asarray(times)[known], held)
    found = np.full(len(strata), -1, np.int8)
    found[known] = sides[made.of_row]
    empty = [SPLITS[i] for i in range(3) if not (found == i).any()]
    if empty:
        way = "" if times is None else " by time"
        what = f"{len(made.sizes):,} {'rows' if units is None else 'units'} to split{way}"
        at = "/".join(f"{100 * part:.0f}" for part in parts)
        raise UsageError(
            f"{' and '.join(empty)} would be empty: there are {what} at {at}; give more rows, or other shares"
        )
    return found


def trainable(sides: np.ndarray, target: Target, units: np.ndarray | None = None, *, fixed: bool = False) -> np.ndarray:
    """The splits, where validation and test ask for nothing that train has none of.

    A class or label that train has no row of cannot be learnt. Classes with fewer than 3 rows are only trained on, and
    so are the units of rows with a class or label that train would not have. Where splits are fixed, by time or by the
    user, such rows are in none.

    Args:
        sides: [N], as `split` gives them.
        target: the truth.
        units: [N], what stays together.
        fixed: True where no row may go from one split to another.

    Returns:
        [N] int8.
    """
    sides = sides.copy()
    if target.kind == "classes":
        rows, codes = np.flatnonzero(target.known), np.asarray(target.values)[target.known]
    elif target.kind == "labels":
        rows, codes = target.pairs
    else:
        return sides
    units = np.arange(len(sides)) if units is None else np.asarray(units)
    seen = np.zeros(len(target.names), bool)
    seen[codes[sides[rows] == 0]] = True
    wanted = ~seen[codes]
    if not fixed:
        wanted |= np.asarray(target.counts)[codes] < LEAST
    unlearnt = np.unique(rows[wanted & (sides[rows] > 0)])
    if fixed:
        sides[unlearnt] = -1
    else:
        sides[np.isin(units, units[unlearnt]) & (sides >= 0)] = 0
    return sides


def _kept(
    strata: np.ndarray,
    given: np.ndarray,
    *,
    units: np.ndarray | None,
    names: pa.ChunkedArray | None,
    shares: Sequence[float],
    limits: tuple[int, int],
    seed: int,
) -> np.ndarray:
    """Given splits; validation is cut from train where there is none."""
    found = np.where(strata >= 0, given, -1).astype(np.int8)
    for side in (0, 2):
        if not (found == side).any():
            raise UsageError(f"of the rows with truth, the given splits have none in {SPLITS[side]}")
    if (found == 1).any():
        return found
    train = np.where(found == 0, strata, -1)
    made = Units(train, units, names, seed)
    part = min(shares[1] / (shares[0] + shares[1]), limits[0] / int((train >= 0).sum()))
    sides = made.by_stratum(np.array([part, 0.0]))
    found[train >= 0] = sides[made.of_row]
    if not (found == 1).any() or not (found == 0).any():
        raise UsageError("the given splits have no validation, and train has too few rows to cut one from it")
    return found


class Units:
    """What stays together, of the rows that are split.

    Args:
        strata: [N], -1 where a row takes no part.
        units: [N], or None where each row stands alone.
        names: [N], or None where rows are known by their numbers.
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
            raise UsageError(f"{unknown:,} rows have no time, so they are in no order; leave them out, or fill them in")
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
        for name in [*coded.dictionary.to_pylist(), None]:
            state = start.copy()
            state.update(str(name).encode(errors="surrogatepass"))
            digests += state.digest()
        index = coded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        found.append(np.frombuffer(bytes(digests), "<u8")[index])
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def groups_of(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each different value of a column, [N] int64; a row without a value is a group of its own."""
    found = hashes(column)
    groups = firsts(found)
    alone = found == MISSING
    groups[alone] = np.flatnonzero(alone)
    return groups


def given_splits(column: pa.ChunkedArray) -> np.ndarray:
    """Splits that a column names (train, validation, test, and usual short forms), [N] int8; -1 where it is blank.

    Raises:
        UsageError: it names something else, or no train or no test.
    """
    column = usual(column)
    if not (is_text(column.type) or pa.types.is_dictionary(column.type) or pa.types.is_null(column.type)):
        raise UsageError(f"a column of splits holds train, validation and test; got values of the type {column.type}")
    texts = [None if text is None else text.strip().lower() for piece in pieces(column) for text in piece.to_pylist()]
    names = {name for name in texts if name}
    unknown = sorted(names - _WRITTEN.keys())
    if unknown:
        got = ", ".join(map(repr, unknown[:5]))
        raise UsageError(f"a column of splits holds train, validation and test (or dev, val, valid); got {got}")
    found = np.array([_WRITTEN[name] if name else -1 for name in texts], np.int8)
    for side in (0, 2):
        if not (found == side).any():
            raise UsageError(f"the column of splits names no row {SPLITS[side]}")
    return found


def shares_of(text: str) -> tuple[float, float, float]:
    """`60/15/25` as shares.

    Raises:
        UsageError: it is not three numbers above zero.
    """
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or not all(0 < part < math.inf for part in parts):
        raise UsageError(
            f"shares are three numbers above zero such as 60/15/25, of train/validation/test; got {text!r}"
        )
    return (parts[0] / sum(parts), parts[1] / sum(parts), parts[2] / sum(parts))
