"""What each input gives to a fusion on test: its contribution, and scores without it, with noise in it, of it alone.

From records alone; those of a suite in full have controls.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from mmkit.records.controls import Controls, Noise
from mmkit.report.labels import ALONE, plain
from mmkit.report.sheet import Sheet, spread_of
from mmkit.report.summary import Row, Spread
from mmkit.titles import title_of


def inputs(found: Sequence[Row]) -> Sheet | None:
    """The inputs of the fusion whose runs have controls; None where none has.

    Scores are those of the metric that ranks, mean and standard deviation over seeds. "contribution" is how much better
    the input makes them, "without it" the score with the input missing in every sample, "shuffled" with another
    sample's value in every sample, "noise" the mean score over all shares of samples with another's value, and "alone"
    that of a model that was trained on this input alone.
    """
    row = next((row for row in found if not row.alone and _controlled(row)), None)
    if row is None:
        return None
    controlled, metric, sign = _controlled(row), row.metric, 1 if row.higher_is_better else -1
    alone = {one.fusion.removeprefix(ALONE): one.spread(metric) for one in found if one.alone}

    def over(values: Iterable[float | None]) -> str:
        return spread_of(_spread(list(values)), metric)

    lines = []
    for name in row.encoders:
        rest = [other for other in row.encoders if other != name]
        noise = [(_noise(controls, name), reached) for controls, reached in controlled]
        lines.append(
            [
                plain(name),
                over(_contribution(controls, name, sign) for controls, _ in controlled),
                over(_score(controls, rest) for controls, _ in controlled),
                over(one.scores[-1] for one, _ in noise),
                over(one.area(reached) for one, reached in noise),
                spread_of(alone.get(name), metric),
            ]
        )
    nothing = over(_score(controls, []) for controls, _ in controlled)
    reached = spread_of(row.spread(metric), metric)
    title = f"Inputs of {plain(row.fusion)} on test: {title_of(metric)} {reached} with all, {nothing} with none of them"
    return Sheet(title, ["input"], ["contribution", "without\nit", "shuffled", "noise", "alone"], lines)


def contribution(row: Row, name: str) -> Spread | None:
    """How much better an input makes the score of a row; None where a run has no such figure."""
    sign = 1 if row.higher_is_better else -1
    return _spread([_contribution(controls, name, sign) for controls, _ in _controlled(row)])


def _controlled(row: Row) -> list[tuple[Controls, float | None]]:
    """The controls of each run that has them, with its score."""
    return [(record.controls, record.metrics.get(record.metric)) for record in row.trainings if record.controls]


def _contribution(controls: Controls, name: str, sign: int) -> float | None:
    return next((sign * one.value for one in controls.contributions if one.input == name), None)


def _score(controls: Controls, present: Sequence[str]) -> float | None:
    return next((one.score for one in controls.subsets if set(one.present) == set(present)), None)


def _noise(controls: Controls, name: str) -> Noise:
    return next(one for one in controls.noise if one.input == name)


def _spread(values: Sequence[float | None]) -> Spread | None:
    """Over seeds; None where it is not defined for each."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)
