"""What has changed of one combination between two suites: a metric on test, the time it takes, its size.

A metric is compared by its difference, over seeds and samples. A time is compared by its ratio, whose margin has four
parts. Each record holds an A/A twin: how far equal programs came apart in its rounds. Each process is one moment of
the machine, and another may lie as far from it as its rounds lie from each other. A fixed program in the rounds of both
says by how much the machine itself was slower. And one program takes a percent or two more in another process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mmkit.records.record import Record, Twin
from mmkit.records.support import Support, support
from mmkit.report.jackknife import Part
from mmkit.report.paired import Array, Difference, by_sample, by_seed
from mmkit.report.summary import Row

Finding = Literal["same", "better", "worse", "unclear"]
Work = Literal["inference", "train"]
Groups = Mapping[str, Sequence[Any]] | str | None
"""Labels of the test samples by factor; None without groups; a text says why they are not known."""
TIMES: Mapping[str, Work] = {"time": "inference", "train_time": "train"}
"""Names of times: of a prediction, and of a training step."""
SIZES = ("parameters", "flops")
"""Names of what is counted, and has no noise."""
BETWEEN = 0.02
"""The relative difference that one program may have between two processes: it lies elsewhere in memory."""
_Z = 1.959964  # of a two-sided interval of 95 %


@dataclass(frozen=True)
class Change:
    """How one quantity of one combination has changed from A to B.

    Args:
        combination: its name.
        quantity: a metric, or one of `TIMES` and `SIZES`.
        a: in A, the mean over seeds; seconds a sample of times.
        b: in B.
        relative: whether the difference is of the logarithms, as of times; else it is of the values.
        higher_is_better: of the quantity.
        difference: B less A.
        same: whether both are the same, to the last bit.
        seeds: number of seeds that count on each side.
        samples: number of test samples that the interval accounts for; 0 where it holds for these samples alone.
        paired: whether each seed was compared with itself.
        widened: which class or label has so few test samples that the interval is wider by it, and how many; else
            empty.
    """

    combination: str
    quantity: str
    a: float
    b: float
    relative: bool
    higher_is_better: bool
    difference: Difference
    same: bool
    seeds: int = 0
    samples: int = 0
    paired: bool = True
    widened: str = ""

    @property
    def change(self) -> float:
        """B less A: in units of the metric, or as a share of A where it is relative."""
        return self._told(self.difference.value)

    def interval(self, level: float = 0.05) -> tuple[float, float] | None:
        """The interval of `change`; None if it is not known."""
        found = self.difference.interval(level)
        return None if found is None else (self._told(found[0]), self._told(found[1]))

    @property
    def finding(self) -> Finding:
        """Whether B is the same, better or worse beyond its interval, or neither can be told."""
        if self.same:
            return "same"
        if (found := self.interval()) is None or found[0] <= 0 <= found[1]:
            return "unclear"
        return "better" if (found[0] > 0) == self.higher_is_better else "worse"

    def _told(self, value: float) -> float:
        return math.expm1(value) if self.relative else value


def metric_change(name: str, metric: str, a: Row, b: Row, groups: Groups) -> Change | None:
    """How a metric on test has changed; None where one side does not have it.

    Seeds that both have are compared with themselves; without two such seeds, all seeds of one side with all of the
    other's.

    Args:
        name: of the combination.
        metric: its name.
        a: the combination in A.
        b: in B.
        groups: of the test samples.
    """
    of = [{record.seed: record for record in row.records if record.metrics.get(metric) is not None} for row in (a, b)]
    if not of[0] or not of[1]:
        return None
    shared = [seed for seed in of[0] if seed in of[1]]
    paired = len(shared) > 1 or len(shared) == min(len(of[0]), len(of[1]))
    sides = [[by[seed] for seed in shared] if paired else list(by.values()) for by in of]
    then, now = (np.array([record.metrics[metric] for record in side], np.float64) for side in sides)
    a_scores, b_scores = (_scores(side, metric) for side in sides)
    samples, few, difference, first = 0, Support(), by_seed(then, now, paired=paired), sides[0][0]
    same = paired and bool((then == now).all())
    if a_scores is not None and b_scores is not None and a_scores.shape[1] == b_scores.shape[1]:
        there = ~np.isnan(a_scores.mean(0) + b_scores.mean(0))  # [N], of samples with truth
        few = support([*a.trainings, *b.trainings], metric)
        difference = _by_sample(a_scores, b_scores, there, groups, paired=paired, unseen=few.unseen)
        same = paired and bool((a_scores[:, there] == b_scores[:, there]).all())
        samples = int(there.sum())
    return Change(
        name,
        metric,
        a=float(then.mean()),
        b=float(now.mean()),
        relative=False,
        higher_is_better=first.more_is_better(metric),
        difference=Difference(0.0) if same else difference,
        same=same,
        seeds=min(map(len, sides)),
        samples=samples,
        paired=paired,
        widened=few.why,
    )


def _by_sample(a: Array, b: Array, there: Any, groups: Groups, *, paired: bool, unseen: float) -> Difference:
    """The difference of scores [S N] of the samples that have one; there is no interval where groups are not known."""
    if isinstance(groups, Mapping) and any(len(labels) != len(there) for labels in groups.values()):
        groups = "groups of other samples"
    known = _kept(groups, there) if isinstance(groups, Mapping) else None
    found = by_sample(a[:, there], b[:, there], known, paired=paired, unseen=unseen)
    return replace(found, unknown=found.unknown or groups) if isinstance(groups, str) else found


def _kept(groups: Mapping[str, Sequence[Any]], there: Any) -> dict[str, list[Any]]:
    """The labels of the samples that have scores."""
    return {name: [one for one, kept in zip(labels, there, strict=True) if kept] for name, labels in groups.items()}


def _scores(records: Sequence[Record], metric: str) -> Array | None:
    """[S N] scores of test samples; None where the metric is no mean over samples, or is not the one that ranks."""
    if any(record.metric != metric or record.scores is None for record in records):
        return None
    found = [record.scores.values.astype(np.float64) for record in records if record.scores is not None]
    return np.stack(found) if len({len(each) for each in found}) == 1 else None


def time_change(name: str, quantity: str, a: Row, b: Row, why_not: str) -> Change | None:
    """How the time of a combination has changed; None where one side was not timed.

    Args:
        name: of the combination.
        quantity: one of `TIMES`.
        a: the combination in A.
        b: in B.
        why_not: why times of the two cannot be compared; empty where they can.
    """
    if a.speed is None or b.speed is None:
        return None
    work = TIMES[quantity]
    rate = "inference_samples_per_s" if work == "inference" else "train_samples_per_s"
    size = "inference_batch_size" if work == "inference" else "train_batch_size"
    seconds = [1 / getattr(side.speed, rate) for side in (a, b)]
    twins = [side.speed.twins.get(work) for side in (a, b) if side.speed]
    sources: tuple[tuple[Part, ...], ...] = ()
    same = not why_not and a.speed == b.speed  # one measurement, found in both
    if not why_not and getattr(a.speed, size) != getattr(b.speed, size):
        why_not = f"batches of {getattr(a.speed, size)} and {getattr(b.speed, size)} samples"
    elif not why_not and not same:
        sources, why_not = _noise(twins)
    value = math.log(seconds[1] / seconds[0])
    return Change(
        name,
        quantity,
        a=seconds[0],
        b=seconds[1],
        relative=True,
        higher_is_better=False,
        difference=Difference(value, sources, why_not),
        same=same,
    )


def _noise(twins: Sequence[Twin | None]) -> tuple[tuple[tuple[Part, ...], ...], str]:
    """The uncertainty of the logarithm of a ratio of times, or why it is not known."""
    margins = [math.log1p(BETWEEN)]
    for side, twin in zip("AB", twins, strict=True):
        if twin is None:
            return (), f"{side} was timed without a twin"
        if twin.low is None or twin.high is None:
            return (), f"{side} was timed in fewer than 6 rounds"
        margins += [max(abs(math.log(twin.low)), abs(math.log(twin.high))), _Z * twin.spread]
    pace = [twin.reference_ms for twin in twins if twin is not None]
    margins.append(math.log(pace[1] / pace[0]))
    return tuple((Part((margin / _Z) ** 2, math.inf),) for margin in margins), ""


def size_change(name: str, quantity: str, a: Row, b: Row) -> Change | None:
    """How a count of a combination has changed; None where one side does not know it."""
    before, after = _size(a, quantity), _size(b, quantity)
    if not before or not after:
        return None
    return Change(
        name,
        quantity,
        a=before,
        b=after,
        relative=True,
        higher_is_better=False,
        difference=Difference(math.log(after / before)),
        same=before == after,
    )


def _size(row: Row, quantity: str) -> float | None:
    if row.cost is None:
        return None
    return row.cost.parameters if quantity == "parameters" else row.cost.flops_per_sample


def has(row: Row, quantity: str) -> bool:
    """Whether a combination has a quantity: a metric on test of at least one seed, a time, a count."""
    if quantity in TIMES:
        return row.speed is not None
    if quantity in SIZES:
        return bool(_size(row, quantity))
    return any(record.metrics.get(quantity) is not None for record in row.records)
