"""The score of a fusion by the share of samples with another sample's value of one input: a curve of each input."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mmkit.records.record import Record
from mmkit.report.statistics import LEVEL, t_quantile
from mmkit.report.summary import Row


@dataclass(frozen=True)
class Point:
    """The score at one share.

    Args:
        share: of the samples, 0 to 1.
        score: the mean over seeds, as it is.
        low: lower end of its 95 % interval over seeds, by Student's t; None with one seed.
        high: upper end.
    """

    share: float
    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Curve:
    """The scores of one input.

    Args:
        input: that has noise.
        points: from no noise to all samples.
        area: the mean over all shares, by trapezoids, over seeds.
    """

    input: str
    points: list[Point]
    area: float


def curves(found: Sequence[Row]) -> tuple[Row, list[Curve]] | None:
    """The curves of the fusion that has controls; None where none has, or a score is not defined."""
    row = next((one for one in found if not one.alone and any(record.controls for record in one.trainings)), None)
    if row is None:
        return None
    records = [record for record in row.trainings if record.controls]
    known = [_curve(name, records) for name in row.encoders]
    return (row, [one for one in known if one]) if all(known) else None


def _curve(name: str, records: Sequence[Record]) -> Curve | None:
    of_seeds, areas = [], []
    shares: list[float] = []
    for record in records:
        assert record.controls is not None  # noqa: S101 (the caller has those with)
        noise = next(one for one in record.controls.noise if one.input == name)
        reached = record.metrics.get(record.metric)
        area = noise.area(reached)
        if area is None or reached is None:
            return None
        shares = [0.0, *noise.shares]
        of_seeds.append([reached, *(score for score in noise.scores if score is not None)])
        areas.append(area)
    points = [_point(share, scores) for share, scores in zip(shares, zip(*of_seeds, strict=True), strict=True)]
    return Curve(name, points, statistics.fmean(areas))


def _point(share: float, scores: Sequence[float]) -> Point:
    mean = statistics.fmean(scores)
    if len(scores) < 2:
        return Point(share, mean, None, None)
    half = t_quantile(1 - LEVEL / 2, len(scores) - 1) * statistics.stdev(scores) / math.sqrt(len(scores))
    return Point(share, mean, mean - half, mean + half)
