"""Noise curves: means and intervals over seeds, against scipy; as they are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mmkit.records.controls import Controls, Noise
from mmkit.report.curves import curves
from mmkit.report.summary import rows
from tests.report.records import record

SCORES = [[0.7, 0.4], [0.72, 0.5], [0.65, 0.42]]
REACHED = [0.9, 0.92, 0.88]


def suite(scores=SCORES, **rest):
    return [
        record(
            "late", seed, reached, controls=Controls(noise=[Noise("a", [0.5, 1.0], list(each))]), encoders={"a": "cnn"},
            **rest,
        )
        for seed, (reached, each) in enumerate(zip(REACHED, scores, strict=False))
    ]  # fmt: skip


def test_points_are_means_with_students_intervals():
    row, (curve,) = curves(rows(suite()))
    assert (row.fusion, curve.input) == ("late", "a")
    table = np.column_stack([REACHED, SCORES])
    assert [one.share for one in curve.points] == [0.0, 0.5, 1.0]
    assert [one.score for one in curve.points] == pytest.approx(table.mean(0))
    ends = stats.t.interval(0.95, 2, table.mean(0), stats.sem(table, axis=0))
    assert [one.low for one in curve.points] == pytest.approx(ends[0])
    assert [one.high for one in curve.points] == pytest.approx(ends[1])
    assert curve.area == pytest.approx(np.trapezoid(table.mean(0), [0, 0.5, 1]))


def test_one_seed_has_no_interval():
    _, (curve,) = curves(rows(suite()[:1]))
    assert {(one.low, one.high) for one in curve.points} == {(None, None)}


def test_without_controls_or_where_a_score_is_not_defined_there_is_no_curve():
    assert curves(rows(suite([[0.7, None]] * 3))) is None
    assert curves(rows([record("late", 0, 0.9)])) is None
