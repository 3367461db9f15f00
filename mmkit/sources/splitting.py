"""Train, validation and test: stratified, by group, by time, or as given; the same rows always split the same way.

Axes: N rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmkit.errors import UsageError
from mmkit.sources.hashes import MISSING, firsts, hashes, pieces
from mmkit.sources.inputs import strings
from mmkit.sources.target import Target
from mmkit.sources.types import is_text, usual
from mmkit.sources.units import LEAST, SPLITS, Units
from mmkit.titles import counted

SHARES = (0.6, 0.15, 0.25)
"""Of train, validation and test."""

LIMITS = (100_000, 200_000)
"""The most rows of validation and of test: beyond, an answer hardly gets surer. The rest trains."""

NAMES = {
    **dict.fromkeys(("train", "training", "trn"), 0),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), 1),
    **dict.fromkeys(("test", "testing", "tst"), 2),
}
"""How splits are called, in lower case, by their numbers."""

_AMOUNT = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")


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
        names: [N], the ids of rows (or the groups, with `units` made of them); None are the numbers of the rows, and so
            is one that is missing.
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


def check_sides(sides: np.ndarray, target: Target, *, fixed: bool = False) -> None:
    """Check that each split has a row, after classes that cannot be tested were left to train.

    Args:
        sides: [N], as `trainable` gives them.
        target: the truth.
        fixed: True where splits are the user's, or by time.

    Raises:
        UsageError: one has none.
    """
    empty = [name for side, name in enumerate(SPLITS) if not (sides == side).any()]
    if not empty:
        return
    what = ("label", "labels") if target.kind == "labels" else ("class", "classes")
    where = f"{' and '.join(empty)} would be empty: "
    if fixed:
        raise UsageError(
            f"{where}train has no row of the {what[1]} that stand there, so they cannot be learnt; give other splits, "
            "or more rows"
        )
    few = {count for count in target.counts if count < LEAST}
    if not few:
        raise UsageError(
            f"{where}the groups or copies that stand there are the only ones with their {what[1]}, so they train; give "
            "more rows, or group by another column"
        )
    rows = counted(few.pop(), "row") + " each" if len(few) == 1 else f"fewer than {LEAST} rows"
    number = sum(count < LEAST for count in target.counts)
    raise UsageError(
        f"{where}{number:,} of {counted(len(target.counts), *what)} {'has' if number == 1 else 'have'} {rows}, and a "
        f"{what[0]} needs {LEAST} to stand in each split; {cure(target)}"
    )


def cure(target: Target) -> str:
    """What to do where classes or labels have too few rows."""
    amounts = target.kind == "classes" and all(map(_AMOUNT.fullmatch, target.names))
    name = "labels" if target.kind == "labels" else "classes"
    other = ", or, as they are numbers, write --target-kind scalar" if amounts else ", or name another --target"
    return f"join rare {name} into larger ones, give more rows{other}"


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


def groups_of(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each different value of a column, [N] int64; a row without a value is a group of its own.

    Strings are as `names_of` has them.
    """
    found = hashes(names_of(column))
    groups = firsts(found)
    alone = found == MISSING
    groups[alone] = np.flatnonzero(alone)
    return groups


def names_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column that names rows or groups: of strings without space around them, blank ones missing; others as given."""
    usually = usual(column)
    kind = usually.type.value_type if pa.types.is_dictionary(usually.type) else usually.type
    return strings(usually) if is_text(kind) else column


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
    unknown = sorted(names - NAMES.keys())
    if unknown:
        got = ", ".join(map(repr, unknown[:5]))
        raise UsageError(f"a column of splits holds train, validation and test (or dev, val, valid); got {got}")
    found = np.array([NAMES[name] if name else -1 for name in texts], np.int8)
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
