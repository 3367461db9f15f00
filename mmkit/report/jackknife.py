"""The variance of a mean over samples, by leaving out one group at a time.

Of crossing factors the parts are added, less what all of them hold (Cameron, Gelbach and Miller, Journal of Business &
Economic Statistics 29(2), 2011).

Axes: N samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Part(NamedTuple):
    """A part of a variance, and its degrees of freedom; a negative variance is taken away from the others."""

    variance: float
    freedom: float


class Groups:
    """The groups of samples by each factor, numbered once for many means.

    Args:
        labels: of each factor [N]; none, and each sample stands for itself.
        unseen: a variance of the mean that values do not show, see `records/support.py`.
    """

    def __init__(self, labels: Sequence[Array] = (), unseen: float = 0.0) -> None:
        self._unseen = [Part(unseen, math.inf)] if unseen else []
        numbers = [np.unique(of, return_inverse=True)[1] for of in labels]
        self._factors = [_Factor(of) for of in numbers]
        self._cells: _Factor | None = None
        if len(numbers) > 1:
            self._cells = _Factor(np.unique(np.stack(numbers), axis=1, return_inverse=True)[1].ravel())

    def __bool__(self) -> bool:
        """Whether there is a factor."""
        return bool(self._factors)

    def parts(self, values: Array) -> list[Part]:
        """The variance of the mean of values [N]: parts to be added."""
        rest = values - values.mean()
        if not self._factors:
            return [_of_each(rest), *self._unseen]
        parts = [factor.part(rest) for factor in self._factors]
        if self._cells is not None:  # what all factors hold was counted once too often for each further one
            parts.append(Part(-(len(parts) - 1) * self._cells.part(rest).variance, math.inf))
        return [*parts, *self._unseen]


class _Factor:
    """Numbered groups [N] of one factor."""

    def __init__(self, numbers: Array) -> None:
        self._numbers = numbers
        self._sizes = np.bincount(numbers).astype(float)

    def part(self, rest: Array) -> Part:
        """Of residuals [N]: the variance of their mean, and the effective groups less one."""
        count, samples = len(self._sizes), len(rest)
        if count < 2:
            return Part(math.inf, 0.0)
        sums = np.bincount(self._numbers, weights=rest)
        variance = (count - 1) / count * float(((sums / (samples - self._sizes)) ** 2).sum())
        return Part(variance, samples**2 / float((self._sizes**2).sum()) - 1)


def _of_each(rest: Array) -> Part:
    """The same where each sample is a group."""
    count = len(rest)
    if count < 2:
        return Part(math.inf, 0.0)
    return Part((count - 1) / count * float(((rest / (count - 1)) ** 2).sum()), count - 1.0)
