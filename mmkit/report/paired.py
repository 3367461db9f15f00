"""The difference of two combinations that were run on the same samples, with its interval over seeds and samples.

The variance over seeds and the variance over samples each get a t quantile of their own, and the squares of the two
margins add up (the method of variance estimates recovery; Zou and Donner, "Construction of confidence limits about
effect measures", Statistics in Medicine 2008, https://doi.org/10.1002/sim.3095). One quantile for the sum of both, with
degrees of freedom after Satterthwaite, is too narrow where seeds are few.

What is of one seed and one sample alone is in both variances, and stays there: to take an estimate of it from the other
is right on average, but with two or three seeds the rest is too small too often. How often equal combinations are told
apart is measured by benchmarks/compare.py.

Axes: S seeds, N samples of the test split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.report.jackknife import Groups, Part

Array = np.ndarray[Any, np.dtype[np.float64]]
LEVEL = 0.05
"""One minus the confidence of an interval."""
FEW = 2.0
"""The least degrees of freedom of groups; with fewer, one group has most of the samples."""


@dataclass(frozen=True)
class Difference:
    """A difference with its uncertainty.

    Args:
        value: of the second less the first.
        sources: of its uncertainty, independent of each other; each has one part, or several that add up.
        unknown: why it has no interval; empty where it has one.
    """

    value: float
    sources: tuple[tuple[Part, ...], ...] = ()
    unknown: str = ""

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """The interval that holds the true difference in all but a share of `level` of cases; None if not known."""
        if self.unknown:
            return None
        margin = math.sqrt(sum(_squared(parts, level) for parts in self.sources))
        return self.value - margin, self.value + margin


def _squared(parts: Sequence[Part], level: float) -> float:
    """The square of the margin of one source; at least that of its greatest part."""
    from scipy.special import stdtrit  # noqa: PLC0415 (slow to import, and only a comparison needs it)

    squares = [
        float(stdtrit(part.freedom, 1 - level / 2)) ** 2 * part.variance if part.variance else 0 for part in parts
    ]
    return max(sum(squares), *squares, 0.0)


def by_sample(
    a: Array, b: Array, groups: Mapping[str, Sequence[Any]] | None = None, *, paired: bool, unseen: float = 0.0
) -> Difference:
    """The difference of the means of scores of samples.

    Args:
        a: [S N] scores of the first.
        b: [S N] scores of the second, of the same samples; paired, of the same seeds in the same order.
        groups: [N] labels of the samples, by factor; samples of one group are alike, so they count less.
        paired: whether the seeds are the same, so that each is compared with itself.
        unseen: a variance of the difference that scores do not show, see `records/support.py`.
    """
    found = by_seed(a.mean(1), b.mean(1), paired=paired)
    samples = of_samples(b.mean(0) - a.mean(0), groups, unseen)
    if min(len(a), len(b)) < 2:
        return _joined(found.value, (), "" if _same(a, b) else "one seed")
    return _joined(found.value, (*found.sources, samples), "" if samples else "fewer than 3 groups that count")


def by_seed(a: Array, b: Array, *, paired: bool) -> Difference:
    """The difference of the means of a metric over seeds, on these samples alone.

    Args:
        a: [S] of the first.
        b: [S] of the second; paired, of the same seeds in the same order.
        paired: see `by_sample`.
    """
    value = float(b.mean() - a.mean())
    if min(len(a), len(b)) < 2:
        return _joined(value, (), "" if _same(a, b) else "one seed")
    return _joined(value, (_welch([_of_seeds(each) for each in ([b - a] if paired else [a, b])]),), "")


def of_samples(
    difference: Array, groups: Mapping[str, Sequence[Any]] | None = None, unseen: float = 0.0
) -> tuple[Part, ...]:
    """The variance of a mean over samples, by leaving out one group at a time; empty where too few groups count.

    Args:
        difference: [N] of each sample.
        groups: labels by factor; None takes each sample as a group of its own.
        unseen: as of `by_sample`.
    """
    labels = [np.array(list(map(str, of))) for of in (groups or {}).values()]
    parts = Groups(labels, unseen).parts(difference)
    return () if any(part.freedom < FEW for part in parts) else tuple(parts)


def _of_seeds(values: Array) -> Part:
    """The variance of the mean over seeds.

    Args:
        values: [S], two or more.
    """
    return Part(float(values.var(ddof=1)) / len(values), len(values) - 1)


def _welch(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The sum of independent variances as one part, with degrees of freedom after Welch and Satterthwaite."""
    total = sum(part.variance for part in parts)
    if not total:
        return ()
    return (Part(total, total**2 / sum(part.variance**2 / part.freedom for part in parts)),)


def _joined(value: float, sources: Sequence[tuple[Part, ...]], unknown: str) -> Difference:
    spread = any(part.variance > 0 for source in sources for part in source)
    if value and not spread and not unknown:
        unknown = "no spread over seeds or samples to measure it by"
    return Difference(value, tuple(source for source in sources if source), unknown)


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool((a == b).all())
