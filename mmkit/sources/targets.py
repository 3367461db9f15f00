"""What is asked of the data: the kind of target and its values, and what hangs on them: metrics and epochs.

Axes: N rows, C classes, labels or numbers a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Target:
    """The truth of every row.

    Args:
        kind: "classes", "labels", "scalar" or "text".
        values: of classes [N] int32, the number of the class in `names`, -1 where missing; of labels an Arrow list
            array [N] of int32, their numbers in `names`, null where missing; of scalar [N C] float64, a row of NaN
            where one of its numbers is missing; of text an Arrow array [N] of strings, null where missing or blank.
        names: the classes or labels [C], in order (numbers by size); the columns of a scalar target; () of text.
        counts: rows of each class or label [C]; () of others.
        missing: rows without truth, which are left out of every split.
        metric: the one that runs are compared by.
        reason: why it is this kind, and this metric.
        rare: classes with fewer than 3 rows, which are only trained on.
    """

    kind: str
    values: Any
    names: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    metric: str
    reason: str
    rare: tuple[str, ...] = ()

    def __len__(self) -> int:
        """N."""
        return len(self.values)

    @property
    def known(self) -> np.ndarray:
        """[N] bool: rows whose truth is there."""
        raise NotImplementedError

    @property
    def strata(self) -> np.ndarray:
        """[N] int32, what splits keep the shares of: the class; the rarest label of the row; of numbers the tenth.

        -1 where truth is missing; 0 for all texts.
        """
        raise NotImplementedError

    def truth(self, row: int) -> Any:
        """The raw truth of one row, as the contract has it for this kind; None where it is missing."""
        raise NotImplementedError


def read_target(columns: Mapping[str, pa.ChunkedArray], kind: str | None = None) -> Target:
    """The target that one column is, or that several columns of numbers are together.

    Strings, bools and at most 10 different whole numbers are classes; lists, or strings like `a|b`, are labels;
    fractions, more than 200 different whole numbers, and several columns are scalars.

    Args:
        columns: [N] each, by name.
        kind: where the user says it: "classes", "labels", "scalar" or "text".

    Raises:
        UsageError: two kinds are likely, or the values cannot be of the kind that was asked for.
        DataError: no row has truth, or there is one class alone.
    """
    raise NotImplementedError


def epoch_metric(target: Target, validation: int) -> str:
    """The metric by which the best epoch is chosen, given the rows of validation.

    Of classes and labels it is `log_loss` below 1,000 rows, where counts of right answers are too coarse.
    """
    raise NotImplementedError


def recommended_epochs(rows: int) -> int:
    """Epochs for this many rows of training: three million samples are shown, in 2 to 40 epochs."""
    raise NotImplementedError
