"""The figures of the rows as the page shows them: scores with their intervals, costs with theirs, the Pareto front.

Axes: S seeds, N samples of the test split, G groups.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.report.jackknife import Array
from mmkit.report.page.folder import Folder
from mmkit.report.statistics import of_samples
from mmkit.report.summary import Row, names
from mmkit.report.values import is_share


@dataclass(frozen=True)
class Measured:
    """A row with what the page shows of it.

    Args:
        number: of the row in the table, from 1.
        name: of the row.
        row: of the summary.
        score: mean of the metric on test over seeds; None where it is not defined.
        error: the standard error of the score over seeds and, where each sample has a score, over samples; None with
            one seed, and where nothing varied, which says nothing of what else could be.
        seeds: the score of each seed on test, by seed.
        milliseconds: a prediction of one sample within a batch; None where speed was not measured.
        quartiles: of `milliseconds` over the rounds of the measurement.
    """

    number: int
    name: str
    row: Row
    score: float | None
    error: float | None
    seeds: Mapping[int, float]
    milliseconds: float | None = None
    quartiles: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The score less and plus two standard errors; of a share within 0 and 1."""
        if self.score is None or self.error is None:
            return None
        low, high = self.score - 2 * self.error, self.score + 2 * self.error
        return (max(low, 0.0), min(high, 1.0)) if is_share(self.row.metric) else (low, high)


def measured(folder: Folder) -> list[Measured]:
    """The rows of a folder that have a completed run."""
    found = folder.rows
    rates = _rates(folder.costs)
    known = []
    for number, (row, name) in enumerate(zip(found, names(found), strict=True), start=1):
        if not row.records:
            continue
        spread, speed = row.spread(row.metric), row.speed
        scores = ((one.seed, one.metrics.get(row.metric)) for one in row.records)
        of_seeds = {seed: score for seed, score in scores if score is not None}
        time, quartiles = (1000 / speed.inference_samples_per_s, rates.get(_key(row))) if speed else (None, None)
        if spread is None:
            known.append(Measured(number, name, row, None, None, of_seeds, time, quartiles))
        else:
            error = _error(row, list(of_seeds.values()), folder.terms.groups)
            known.append(Measured(number, name, row, spread.mean, error, of_seeds, time, quartiles))
    return known


def pareto(found: Sequence[Measured]) -> list[Measured]:
    """The rows that no other is as good as and as fast as, and better in one of the two; from the fastest."""
    known = [one for one in found if one.score is not None and one.milliseconds is not None]
    return sorted((one for one in known if not any(_dominates(other, one) for other in known)), key=_time)


def _dominates(one: Measured, other: Measured) -> bool:
    sign = 1 if one.row.higher_is_better else -1
    gain, saved = sign * ((one.score or 0) - (other.score or 0)), _time(other) - _time(one)
    return gain >= 0 and saved >= 0 and (gain > 0 or saved > 0)


def _time(one: Measured) -> float:
    return one.milliseconds or 0.0


def _error(row: Row, of_seeds: Sequence[float], groups: Mapping[str, Array]) -> float | None:
    """The standard error of a mean score: over seeds, and over samples, or the groups that they stem from.

    None with one seed, of samples of one group, and where nothing varies.
    """
    if len(of_seeds) < 2:
        return None
    variance = statistics.variance(of_seeds) / len(of_seeds)
    values = [one.scores.values for one in row.records if one.scores is not None]
    if len(values) == len(row.records) and len({len(one) for one in values}) == 1:
        means = np.mean([one.astype(np.float64) for one in values], axis=0)  # [N]
        there = ~np.isnan(means)
        if there.sum() > 1:
            labels = [of[there] for of in groups.values() if len(of) == len(means)]
            parts = [part.variance for part in of_samples(means[there], labels)]
            variance += max(sum(parts), *parts)
    return math.sqrt(variance) if 0 < variance < math.inf else None


def _rates(costs: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Quartiles of the time of a prediction in milliseconds, by what a combination is."""
    try:
        rates = costs["rounds"]["inference"]["rates"]
        combinations = costs["measured"]["combinations"]
    except (KeyError, TypeError):
        return {}
    found = {}
    for key, one in combinations.items():
        if key in rates:
            low, high = rates[key]["quartiles"]
            found[_identity(one)] = (1000 / high, 1000 / low)
    return found


def _key(row: Row) -> str:
    return _identity(row.trainings[0].run)


def _identity(document: Mapping[str, Any]) -> str:
    """What tells combinations apart: of the run of a record, or of `suite.json`."""
    parts = ("encoders", "fusion", "head", "objectives", "balance")
    return json.dumps([document.get(one) for one in parts], sort_keys=True, default=str)
