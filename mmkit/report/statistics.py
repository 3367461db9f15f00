"""What a difference on test is worth: its margin over seeds and samples, the finding, and what a run could have seen.

A run gives one pseudo-score Y a test sample, whose mean is the metric and whose spread over samples is that of the
metric (`metrics/influence.py`); more is better here, so that a caller turns the sign of a loss. The variance of a mean
over seeds and samples has two parts:

- seeds: A = max(0, s^2 - e/N) / S, with s^2 the variance of the seeds' means and e what is left of Y once the means of
  seeds and of samples are taken out, as in the analysis of readers and cases (Obuchowski and Rockette, Communications
  in Statistics 24(2), 1995; Hillis, Statistics in Medicine 26(3), 2007); two of them join by Satterthwaite's degrees of
  freedom;
- samples: the delete-one-group jackknife of their differences, with the effective number of groups less one as degrees
  of freedom, see `jackknife.py`; and what scores do not show where classes have few samples, see `records/support.py`.

Each part is widened by its own quantile of Student's t, and the squares are added (MOVER: Zou and Donner, Statistics in
Medicine 27(10), 2008). One Satterthwaite over both is too narrow at five seeds.

Axes: S seeds, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from mmkit.report.jackknife import Array, Groups, Part

Finding = Literal["above", "below", "equal", "unclear", "none"]

LEVEL = 0.05
"""The share of false alarms that a first look may have."""
LATER = 0.02
"""The share that all later looks may have together."""
FEWEST = 2.0
"""The fewest degrees of freedom of samples: three effective groups."""
POWER = 1.43
"""By how much a difference must exceed a margin to be found in four of five runs."""
_NORMAL = 1e6
"""Degrees of freedom from which on Student's t is the normal distribution."""


@dataclass(frozen=True)
class Margin:
    """A difference with its margin.

    Args:
        difference: of the means; more is better.
        of_seeds: the part of the margin due to seeds; None with one seed of either.
        of_samples: the part due to samples; None where they fall into too few groups.
        freedom_of_seeds: degrees of freedom.
        freedom_of_samples: degrees of freedom, the fewest of several factors.
    """

    difference: float
    of_seeds: float | None
    of_samples: float | None
    freedom_of_seeds: float
    freedom_of_samples: float

    @property
    def total(self) -> float | None:
        """The margin; None where a part is not known."""
        if self.of_seeds is None or self.of_samples is None:
            return None
        return math.hypot(self.of_seeds, self.of_samples)


@dataclass(frozen=True)
class Comparison:
    """A fusion compared with every single input.

    Args:
        finding: "above" every one; "below" the best; "equal" to the best within what counts as the same; "unclear"; or
            "none", where there is no verdict.
        low: the gain over the best single input is at least that.
        high: and at most that.
        within: the interval by which equality is judged, at twice the level: its lower and its upper end.
        nearest: the name of the one that is hardest to beat.
        margins: of each, by name, at the level of the look.
    """

    finding: Finding
    low: float
    high: float
    within: tuple[float, float]
    nearest: str
    margins: Mapping[str, Margin]


def t_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t with any positive number of degrees of freedom.

    >>> round(t_quantile(0.975, 4), 3)
    2.776
    """
    from scipy.special import stdtrit  # noqa: PLC0415 (it takes 0.1 s, and only a verdict needs it)

    return float(stdtrit(min(freedom, _NORMAL), share))


def level_of_look(number: int) -> float:
    """The level of a look at the same test split, so that all looks together are wrong in 7 % at most (Bonferroni).

    >>> level_of_look(1), level_of_look(2)
    (0.05, 0.01)
    """
    return LEVEL if number == 1 else LATER / (number * (number - 1))


def of_seeds(scores: Array, searched: Sequence[float] = ()) -> Part | None:
    """The variance of the mean of one combination that is due to its seeds; None of one seed.

    Args:
        scores: [S N] of its confirmed runs.
        searched: the metric on test of its other seeds, which tell of the variance alone.
    """
    count, samples = scores.shape
    means = scores.mean(1)
    squares, freedom = float(((means - means.mean()) ** 2).sum()), count - 1
    left = 0.0
    if count > 1:
        rest = scores - means[:, None] - scores.mean(0) + scores.mean()
        left = float((rest**2).sum()) / ((count - 1) * (samples - 1))
    if len(searched) > 1:
        others = np.asarray(searched, float)
        squares += float(((others - others.mean()) ** 2).sum())
        freedom += len(others) - 1
    return Part(max(squares / freedom - left / samples, 0.0) / count, freedom) if freedom else None


def of_samples(differences: Array, groups: Sequence[Array] = ()) -> list[Part]:
    """The variance of a mean difference that is due to samples: parts to be added.

    Args:
        differences: [N], of each sample the mean over seeds.
        groups: of each factor [N] labels; none, and each sample stands for itself.
    """
    return Groups(groups).parts(differences)


class _Measured(NamedTuple):
    """What is needed of one combination, however many it is compared with.

    Args:
        samples: [N], of each the mean over seeds.
        mean: of all.
        seeds: as of `of_seeds`.
    """

    samples: Array
    mean: float
    seeds: Part | None

    @classmethod
    def of(cls, scores: Array, searched: Sequence[float] = ()) -> _Measured:
        """Of scores [S N], and the metric of further seeds."""
        return cls(scores.mean(0), float(scores.mean()), of_seeds(scores, searched))


def margin(
    one: Array,
    other: Array,
    *,
    searched: Sequence[float] = (),
    searched_of_other: Sequence[float] = (),
    groups: Sequence[Array] = (),
    unseen: float = 0.0,
    level: float = LEVEL,
) -> Margin:
    """The difference of two combinations on test with its margin at a level.

    Args:
        one: [S N] scores of the first.
        other: [S N] of the second, of the same samples; its seeds may be more or fewer.
        searched: the metric on test of the first one's other seeds, for the variance alone.
        searched_of_other: those of the second.
        groups: of each factor [N] labels.
        unseen: a variance of the difference that scores do not show, see `records/support.py`.
        level: the share of false alarms.
    """
    return _margin(_Measured.of(one, searched), _Measured.of(other, searched_of_other), Groups(groups, unseen), level)


def _margin(one: _Measured, other: _Measured, groups: Groups, level: float) -> Margin:
    share = 1 - level / 2
    parts = groups.parts(one.samples - other.samples)
    known = [part for part in parts if part.variance > 0]
    fewest = min((part.freedom for part in known), default=0.0)
    few = bool(groups) and min(part.freedom for part in parts) < FEWEST
    by_samples: float | None = None
    if not few and all(part.variance < math.inf for part in parts):
        squares = [t_quantile(share, part.freedom) ** 2 * part.variance if part.variance else 0.0 for part in parts]
        by_samples = math.sqrt(max(sum(squares), *squares))
    a, b = one.seeds, other.seeds
    by_seeds, freedom = None, 0.0
    if a is not None and b is not None:
        variance = a.variance + b.variance
        freedom = a.freedom + b.freedom
        if variance > 0:
            freedom = variance**2 / (a.variance**2 / a.freedom + b.variance**2 / b.freedom)
        by_seeds = t_quantile(share, freedom) * math.sqrt(variance)
    return Margin(one.mean - other.mean, by_seeds, by_samples, freedom, fewest)


def compare(
    fusion: Array,
    singles: Mapping[str, Array],
    *,
    same: float,
    searched: Sequence[float] = (),
    groups: Sequence[Array] = (),
    unseen: float = 0.0,
    level: float = LEVEL,
) -> Comparison:
    """Compare a fusion with every single input: an interval of its gain over the best of them, and a finding.

    The lower end is the least over all of difference - margin, since every one must be beaten (intersection-union).
    The upper end is the least of difference + margin at the level divided by their number: one of them is the best.

    Args:
        fusion: [S N] scores, more being better.
        singles: [S N] of each single input, by name; at least one.
        same: what counts as the same.
        searched: the metric on test of the fusion's other seeds, for the variance alone.
        groups: of each factor [N] labels.
        unseen: a variance of the difference that scores do not show, see `records/support.py`.
        level: the share of false alarms.
    """
    one, others = _Measured.of(fusion, searched), {name: _Measured.of(scores) for name, scores in singles.items()}
    numbered = Groups(groups, unseen)

    def interval(at: float) -> tuple[float, float, str] | None:
        lows, highs = {}, []
        for name, other in others.items():
            near, far = (_margin(one, other, numbered, level) for level in (at, at / len(others)))
            if near.total is None or far.total is None or (near.total == 0 and near.difference != 0):
                return None
            lows[name] = near.difference - near.total
            highs.append(far.difference + far.total)
        nearest = min(lows, key=lows.__getitem__)
        return lows[nearest], min(highs), nearest

    margins = {name: _margin(one, other, numbered, level) for name, other in others.items()}
    at_level, twice = interval(level), interval(2 * level)
    if at_level is None or twice is None:
        nearest = min(margins, key=lambda name: margins[name].difference)
        return Comparison("none", -math.inf, math.inf, (-math.inf, math.inf), nearest, margins)
    low, high, nearest = at_level
    finding: Finding = "unclear"
    if low > 0:
        finding = "above"
    elif high < 0:
        finding = "below"
    elif twice[0] > -same and twice[1] < same:
        finding = "equal"
    return Comparison(finding, low, high, twice[:2], nearest, margins)


def seeds_wanted(
    fusion: Array,
    singles: Mapping[str, Array],
    *,
    searched: Sequence[float] = (),
    groups: Sequence[Array] = (),
    unseen: float = 0.0,
    most: int = 10,
) -> int:
    """How many seeds each confirmed combination should have, the same for all, blind to the difference.

    As many as bring the variance of each one's mean due to seeds down to half of that due to samples; the number of
    confirmed seeds at least, and `most` at most.
    """
    mean, numbered = fusion.mean(0), Groups(groups, unseen)
    least = min(sum(part.variance for part in numbered.parts(mean - one.mean(0))) for one in singles.values())
    count = need = len(fusion)
    for scores, others in [(fusion, searched), *((scores, ()) for scores in singles.values())]:
        part = of_seeds(scores, others)
        if part is not None and part.variance:
            need = max(need, math.ceil(min(count * part.variance / max(least / 2, 1e-300), most)))
    return min(most, need)


def can_show(found: Margin) -> tuple[float, float]:
    """The difference that such a run finds in four of five cases, and that which more seeds alone could bring it to."""
    assert found.total is not None  # noqa: S101 (the caller has a verdict)
    assert found.of_samples is not None  # noqa: S101
    return POWER * found.total, POWER * found.of_samples


def not_beaten(scores: Sequence[Array], *, groups: Sequence[Array] = (), unseen: float = 0.0) -> list[int]:
    """The places of the combinations that cannot be told from the best: those that no other beats.

    At level .1 / (number - 1) two-sided, so the best is missed in 5 % at most. All have three seeds or more.

    Args:
        scores: [S N] of each, of the same samples, more being better.
        groups: of each factor [N] labels.
        unseen: as of `margin`.
    """
    if len(scores) < 2:
        return list(range(len(scores)))
    level = 0.1 / (len(scores) - 1)
    measured, numbered = [_Measured.of(one) for one in scores], Groups(groups, unseen)
    beaten: set[int] = set()
    for place, one in enumerate(measured):
        for at in range(place):
            found = _margin(one, measured[at], numbered, level)
            if found.total is not None and abs(found.difference) > found.total > 0:
                beaten.add(at if found.difference > 0 else place)
    return [place for place in range(len(scores)) if place not in beaten]
