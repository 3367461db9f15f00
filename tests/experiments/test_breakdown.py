"""What predictions cost in detail: measured of real models, and kept in the records of the chosen fusion."""

from __future__ import annotations

import pytest

import mmkit
import mmkit.experiments.run
from mmkit.data.splits import splits_of
from mmkit.errors import UsageError
from mmkit.experiments import steps
from mmkit.experiments.breakdown import breakdown_of, closure, without
from mmkit.experiments.forecast import Forecast, Sizes, seconds_of_controls
from mmkit.experiments.pace import Batches, Pace
from mmkit.experiments.plan import plan
from mmkit.experiments.subject import Subject
from mmkit.features.sharing import Shared
from mmkit.records.file import read_records
from mmkit.registry.catalog import installed
from mmkit.speed import modes
from mmkit.speed.interleave import Comparison
from mmkit.system.settings import Settings

pytestmark = pytest.mark.minutes


def asked(task, *fusions, **rest):
    return plan(installed(), task=task, fusions=list(fusions), seeds=1, settings=Settings("cpu"), **rest)


def measured(planned, **given):
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    one = planned.combinations[0]
    return breakdown_of(
        one, splits, planned.training, Settings("cpu"), Shared(), **{"rounds": 6, "max_seconds": 60.0, **given}
    )


@pytest.mark.full
def test_a_fusion_of_features_has_its_parts_its_savings_and_its_sizes():
    planned = asked("synthetic-unique:train=48", "concat")
    found = measured(planned)
    assert [one.name for one in found.parts] == ["encoder of left", "encoder of right", "fusion", "head", "rest"]
    assert all(one.ms > 0 for one in found.parts)
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    run = planned.runs()[0]
    _, model = mmkit.experiments.run.execute(run, splits)
    assert sum(one.parameters for one in found.parts) == sum(each.numel() for each in model.network.parameters())
    alone = {one.label: one for one in planned.baselines}
    assert {f"only:{one.input}" for one in found.savings} == set(alone)
    for one in found.savings:
        assert 0 < one.share < 1
        assert one.low <= one.ms <= one.high
        assert one.ms == pytest.approx(one.share * found.ms, rel=0.3)
    assert [one.size for one in found.sweep.sizes][:3] == [1, 2, 4]
    assert found.modes == []


@pytest.mark.full
def test_of_a_fusion_of_outputs_the_heads_come_first():
    found = measured(asked("synthetic-unique:train=48", "late"))
    assert [one.name for one in found.parts][-3:] == ["heads of inputs", "fusion", "rest"]


@pytest.mark.full
def test_what_an_input_saves_is_what_the_other_model_lacks():
    planned = asked("synthetic-unique:train=48,inputs=3", "concat")
    found = measured(planned)
    combination = planned.combinations[0]
    assert {one.input for one in found.savings} == set(combination.encoders)
    assert all(one.reason == "" for one in found.savings)
    assert all(0 < one.parameters < sum(part.parameters for part in found.parts) for one in found.savings)


def test_the_memory_of_a_step_is_that_of_training_and_predictions_are_timed_in_evaluation(monkeypatch):
    training, predicting = [], []

    def train(self, *given):
        training.append(self.module.training)
        return plain_train(self, *given)

    def forward(self, *given):
        predicting.append(self.module.training)
        return plain_forward(self, *given)

    plain_train, plain_forward = Subject.train, Subject._forward
    monkeypatch.setattr(Subject, "train", train)
    monkeypatch.setattr(Subject, "_forward", forward)
    measured(asked("synthetic-unique:train=48", "concat"), rounds=1, max_seconds=0.1)
    assert len(training) == 6  # twice of each model: the fusion, and without each of its inputs
    assert all(training)
    assert not any(predicting)


def test_without_an_input_all_else_stays():
    planned = asked("synthetic-unique:train=48,inputs=3", "concat:width=8", objectives=["contrastive"])
    one = planned.combinations[0]
    names = list(one.encoders)
    two = without(one, names[0])
    assert list(two.encoders) == names[1:]
    assert (two.fusion, two.head, two.objectives) == (one.fusion, one.head, one.objectives)
    last = without(two, names[1])
    assert last.label == f"only:{names[2]}"
    assert last.objectives == ()  # of two inputs at least


def comparison(ratio, low, high):
    return Comparison(ratio, low, high, 0.02, 0.02, "unclear")


@pytest.mark.parametrize(
    ("parts", "twin", "closes"),
    [
        ((1.0, 0.99, 1.01), (1.0, 0.99, 1.01), True),
        ((1.05, 1.03, 1.07), (1.0, 0.99, 1.01), False),
        ((1.05, 1.03, 1.07), (1.0, 0.96, 1.01), True),
        ((0.95, 0.93, 0.97), (1.0, 0.99, 1.01), False),
        ((0.95, 0.93, 0.995), (1.0, 0.99, 1.01), True),
        ((1.0, None, None), (1.0, None, None), False),
    ],
)
def test_parts_close_where_they_reach_into_the_noise_of_the_whole(parts, twin, closes):
    found = closure(comparison(*parts), comparison(*twin))
    assert found.closes is closes
    assert (found.noise is None) == (parts[1] is None)


PACE = Pace(1.0, 0.07, 0.3, Batches(0.02, 0.01), Batches(0.005, 0.001), None, {("x", "bag"): 0.002})
SIZES = Sizes(train=1000, validation=200, test=300)


def test_controls_are_counted_before_they_are_measured():
    test, validation = 2 * 0.005 + 300 * 0.001, 0.005 + 200 * 0.001
    assert seconds_of_controls(PACE, SIZES, 1) == pytest.approx(test + validation)
    # Of two inputs three subsets more, and five shares of noise in each.
    assert seconds_of_controls(PACE, SIZES, 2) == pytest.approx((1 + 3 + 10) * test + validation)
    assert seconds_of_controls(PACE, SIZES, 6) > seconds_of_controls(PACE, SIZES, 5)


def test_the_forecast_of_a_full_plan_counts_controls_and_detail_until_they_are_done():
    planned = asked("synthetic-unique:train=64", "concat")
    combination, *_ = planned.combinations
    run = next(one for one in planned.runs() if one.combination is combination)
    key, alone = combination.key, planned.baselines[0].key
    forecast = Forecast(
        dict.fromkeys([key, alone], PACE), [SIZES], inputs={key: 2, alone: 1}, confirmed={0: 2.0}, detail=9.0
    )
    forecast.add(0, key, planned.training, searches=0, runs=2)
    forecast.add(0, alone, planned.training, searches=0, runs=3)
    each, bits = seconds_of_controls(PACE, SIZES, 2), seconds_of_controls(PACE, SIZES, 1)
    estimate = forecast.estimate()
    assert estimate.controls == pytest.approx(2 * each + 3 * bits)
    assert estimate.detail == 9.0
    assert estimate.total == pytest.approx(sum(v for n, v in estimate.document().items() if n != "total"))
    assert "costs in detail" in estimate.sentence() or estimate.detail < estimate.total / 20
    forecast.ended(0, run, "comparison", None, confirmed=True)
    assert forecast.estimate().controls == pytest.approx(each + 3 * bits)


def test_modes_belong_to_the_full_protocol_and_to_costs(tmp_path):
    for given in ({"protocol": "quick"}, {"protocol": "full", "cost": False}):
        with pytest.raises(UsageError, match="--modes times the fusion that the full protocol chooses"):
            mmkit.bench(task="digits", modes=True, out=tmp_path, progress=False, device="cpu", **given)


@pytest.mark.full
def test_a_full_suite_keeps_them_once_and_adds_modes_when_they_are_asked_for(tmp_path, monkeypatch):
    asked_for = []

    def told(combination, *given, with_modes, **rest):
        asked_for.append((combination.label, with_modes))
        return breakdown_of(combination, *given, with_modes=with_modes, rounds=2, max_seconds=1.0, **rest)

    monkeypatch.setattr(steps, "breakdown_of", told)
    monkeypatch.setattr(modes, "_compiled", lambda forward, *_: (forward, forward))

    def bench(**given):
        return mmkit.bench(
            task="synthetic-unique:train=48,modality=table", fusion="concat", protocol="full", seeds=2,
            yardsticks=False, training={"epochs": 2, "min_steps": 0, "lr": 0.01}, device="cpu", out=tmp_path,
            progress=False, **given,
        )  # fmt: skip

    found = bench(cost=False)
    assert asked_for == []
    assert not any(one.breakdown for one in found.records)
    found = bench()
    assert asked_for == [("concat", False)]
    of = {
        one.fusion: [each.breakdown is not None for each in found.records if each.fusion == one.fusion]
        for one in found.records
    }
    assert set(of.pop("concat")) == {True}
    assert not any(any(each) for each in of.values())
    assert bench().records == list(found.records)
    assert len(asked_for) == 1  # nothing was left to measure
    found = bench(modes=True)
    assert asked_for[1:] == [("concat", True)]
    kept = [one for one in read_records(tmp_path / "records.jsonl").values() if one.breakdown]
    assert {one.fusion for one in kept} == {"concat"}
    assert all([mode.name for mode in one.breakdown.modes] == ["eager", "compiled", "cuda graph"] for one in kept)
    bench()
    assert len(asked_for) == 2
