"""The table of inputs: each figure against the controls that it is made from."""

from __future__ import annotations

import pytest

from mmkit.records.controls import Contribution, Controls, Noise, Subset
from mmkit.records.record import Record
from mmkit.report.inputs import inputs
from mmkit.report.summary import rows

WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}


def record(fusion, seed, score, *, metric="accuracy", higher=True, controls=None):
    names = [fusion.removeprefix("only:")] if fusion.startswith("only:") else ["text", "[b]image"]
    return Record(
        id=f"{fusion} {seed}", status="ok", task="pets", run={}, encoders=dict.fromkeys(names, "cnn"), fusion=fusion,
        head="mlp", objectives=[], seed=seed, metric=metric, higher_is_better=higher, metrics={metric: score},
        validation={metric: score}, controls=controls, **WHERE,
    )  # fmt: skip


def controls(shift=0.0, sign=1):
    subsets = [([], 0.3), (["text"], 0.6), (["[b]image"], 0.5), (["text", "[b]image"], 0.9)]
    return Controls(
        [Subset(present, score + shift) for present, score in subsets],
        [
            Noise("text", [0.5, 1.0], [0.7 + shift, 0.4 + shift]),
            Noise("[b]image", [0.5, 1.0], [0.8 + shift, 0.6 + shift]),
        ],
        [Contribution("text", sign * 0.35, 0.0), Contribution("[b]image", sign * 0.25, 0.0)],
    )


@pytest.fixture
def suite():
    return [
        record("late", 0, 0.9, controls=controls()),
        record("late", 1, 0.92, controls=controls(0.02)),
        record("concat", 0, 0.8),
        record("only:text", 0, 0.7),
        record("only:[b]image", 0, 0.65),
    ]


def test_each_figure_is_the_mean_over_the_runs(suite):
    sheet = inputs(rows(suite))
    assert sheet.title == "Inputs of late on test: accuracy 91.0 ± 1.4 with all, 31.0 ± 1.4 with none of them"
    # without text: 50 and 52; shuffled 40 and 42; the area of .9 .7 .4 is .675
    assert sheet.lines == [
        ["text", "35.0 ± 0.0", "51.0 ± 1.4", "41.0 ± 1.4", "68.5 ± 1.4", "70.0"],
        ["[b]image", "25.0 ± 0.0", "61.0 ± 1.4", "61.0 ± 1.4", "78.5 ± 1.4", "65.0"],
    ]


def test_where_lower_is_better_a_contribution_is_what_it_takes_off():
    found = [record("late", 0, 0.9, metric="rmse", higher=False, controls=controls(sign=-1))]
    sheet = inputs(rows(found))
    assert [line[1] for line in sheet.lines] == ["0.35", "0.25"]
    assert [line[5] for line in sheet.lines] == ["-", "-"]  # no single input was trained


def test_what_is_not_defined_is_a_dash(suite):
    nothing = Controls([Subset([], None), *controls().subsets[1:]], controls().noise, [])
    sheet = inputs(rows([record("late", 0, 0.9, controls=nothing)]))
    assert sheet.title.endswith("- with none of them")
    assert [line[1] for line in sheet.lines] == ["-", "-"]
    assert [line[2] for line in sheet.lines] == ["50.0", "60.0"]


def test_without_controls_there_is_no_table(suite):
    assert inputs(rows(suite[2:])) is None
