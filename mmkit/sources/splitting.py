"""Train, validation and test: stratified, by group, by time, or as given; the same rows always split the same way.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

SPLITS = ("train", "validation", "test")
"""The splits by their numbers, 0, 1 and 2; a row in none of them, whose truth is missing, is -1."""

SHARES = (0.6, 0.15, 0.25)
"""Of train, validation and test."""

LIMITS = (100_000, 200_000)
"""The most rows of validation and of test: beyond, an answer hardly gets surer. The rest trains."""


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
    raise NotImplementedError


def groups_of(column: pa.ChunkedArray) -> np.ndarray:
    """A number for each different value of a column, [N] int64; a row without a value is a group of its own."""
    raise NotImplementedError


def given_splits(column: pa.ChunkedArray) -> np.ndarray:
    """Splits that a column names (train, validation, test, and usual short forms), [N] int8; -1 where it is blank.

    Raises:
        UsageError: it names something else, or no train or no test.
    """
    raise NotImplementedError


def shares_of(text: str) -> tuple[float, float, float]:
    """`60/15/25` as shares.

    Raises:
        UsageError: it is not three numbers above zero.
    """
    raise NotImplementedError


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
    raise NotImplementedError
