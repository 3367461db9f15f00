"""Folds: every row is tested once, by a model that has not seen it.

Axes: N rows, K folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmkit.errors import UsageError
from mmkit.sources.splitting import SHARES, cure, split, trainable
from mmkit.sources.target import Target
from mmkit.sources.units import Units


def sides_of_folds(
    target: Target,
    count: int,
    *,
    units: np.ndarray | None = None,
    names: pa.ChunkedArray | None = None,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> np.ndarray:
    """The split of each row in each fold; each fold tests other rows, and cuts validation from the rest.

    Args:
        target: the truth.
        count: K.
        units: [N], rows that stay together.
        names: [N] ids of rows, or of groups.
        shares: of train, validation and test; validation gets its share of what is not tested.
        seed: of the hash.

    Returns:
        [K N] int8: 0 train, 1 validation, 2 test, -1 none of them.

    Raises:
        UsageError: there are fewer units than folds, or a fold has no row to train on, to validate or to test.
    """
    tested = folds(target.strata, count, units=units, names=names, seed=seed)
    found = np.zeros((count, len(tested)), np.int8)
    for fold in range(count):
        sides = split(
            target.strata,
            units=units,
            names=names,
            given=np.where(tested == fold, 2, 0).astype(np.int8),
            shares=shares,
            seed=seed,
        )
        found[fold] = trainable(sides, target, units)
        for side, verb in ((2, "test"), (1, "validate")):
            if not (found[fold] == side).any():
                raise UsageError(
                    f"fold {fold + 1} of {count} would {verb} nothing: its rows are of classes with too few rows, "
                    f"which only train; take fewer folds, or {cure(target)}"
                )
    return found


def folds(
    strata: np.ndarray,
    count: int = 5,
    *,
    units: np.ndarray | None = None,
    names: pa.ChunkedArray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """The fold of each row, [N] int8, -1 where a row belongs to none: every row is tested once.

    Args:
        strata: [N], what each fold gets its share of.
        count: how many.
        units: [N], rows that stay together.
        names: [N] ids of rows.
        seed: of the hash.

    Raises:
        UsageError: there are fewer units than folds.
    """
    strata = np.asarray(strata)
    known = strata >= 0
    made = Units(strata, units, names, seed)
    if len(made.sizes) < count:
        raise UsageError(f"{count} folds need as many units that stay together; there are {len(made.sizes)}")
    rows = np.zeros(count, np.int64)  # of each fold
    alike = np.zeros((count, int(made.strata.max()) + 1), np.int64)  # the same, by stratum
    fold = np.zeros(len(made.sizes), np.int8)
    # The largest units first, each to the fold that has least of its stratum, then least of all.
    for unit in np.lexsort((made.keys, -made.sizes, made.strata)):
        stratum, size = made.strata[unit], made.sizes[unit]
        best = np.lexsort((np.arange(count), rows, alike[:, stratum]))[0]
        fold[unit] = best
        rows[best] += size
        alike[best, stratum] += size
    found = np.full(len(strata), -1, np.int8)
    found[known] = fold[made.of_row]
    return found
