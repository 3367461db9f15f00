"""The A/A twins of a measurement, on rounds whose times are known."""

import math

import numpy as np
import pytest
import torch

from mmkit.data.splits import splits_of
from mmkit.experiments import costs
from mmkit.experiments.costs import Costs, measure_costs
from mmkit.experiments.plan import plan
from mmkit.records.file import RecordFile
from mmkit.records.record import Cost, Record, Speed, Twin
from mmkit.registry.catalog import installed
from mmkit.speed.interleave import Timings
from mmkit.speed.reference import reference
from mmkit.system.settings import Settings

ROUNDS = 20


@pytest.fixture
def measured(monkeypatch):
    """Costs measured by a clock that says how long each candidate takes in each round; and what was asked of it."""

    def run(seconds):
        asked = []

        def interleave(candidates, **_):
            asked.append(list(candidates))
            of = {name: tuple(seconds(name, number) for number in range(ROUNDS)) for name in candidates}
            return Timings(of, dict.fromkeys(candidates, 1), "given clock", "cpu")

        monkeypatch.setattr(costs, "interleave", interleave)
        planned = plan(installed(), task="synthetic-unique:train=48", fusions=["concat"], seeds=1, baselines=False)
        splits = splits_of(planned.task, installed(), Settings("cpu"))
        (one,) = planned.combinations
        found = measure_costs({"key": one}, splits, planned.training, Settings("cpu"), max_seconds=0.1)
        return found.of["key"].throughput, asked

    return run


def test_a_twin_is_timed_in_the_same_rounds_and_its_ratio_is_the_median_of_theirs(measured):
    speed, asked = measured(
        lambda name, number: 0.002 if name == "reference" else 0.01 * (1.03 if "twin" in name else 1)
    )
    assert asked == [["key trained part", "key trained part, twin", "reference"], ["key", "key, twin", "reference"]]
    for work in ("inference", "train"):
        twin = speed.twins[work]
        assert (twin.ratio, twin.low, twin.high) == pytest.approx((1.03, 1.03, 1.03))
        assert twin.reference_ms == pytest.approx(2.0)
        assert twin.spread == pytest.approx(0)
    assert speed.inference_samples_per_s == pytest.approx(64 / 0.01)  # the twin counts nowhere else


def test_the_spread_over_rounds_is_that_of_a_normal_with_the_same_quartiles(measured):
    times = np.exp(np.random.default_rng(0).normal(-4, 0.1, ROUNDS))
    speed, _ = measured(lambda name, number: 0.002 if name == "reference" else float(times[number]))
    low, high = np.quantile(times, [0.25, 0.75])
    assert speed.twins["train"].spread == pytest.approx(math.log(high / low) / 1.3489795, rel=1e-4)
    assert speed.twins["train"].ratio == 1


def test_twins_are_read_back_from_a_record_and_from_the_costs_of_a_suite(tmp_path):
    twin = Twin(1.01, 0.99, 1.03, 0.02, 0.2)
    speed = Speed(10.0, 5.0, {"p50": 1.0}, 64, 32, {"inference": twin, "train": twin})
    kept = Costs({"key": costs.CombinationCost(speed, Cost(7))}, {})
    assert Costs.of_document(kept.document()) == kept
    where = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
    names = {"task": "t", "encoders": {}, "fusion": "sum", "head": "mlp", "objectives": [], "seed": 0, "run": {}}
    record = Record(id="a", status="ok", **names, **where, throughput=speed)
    RecordFile(tmp_path / "records.jsonl").append(record)
    assert RecordFile(tmp_path / "records.jsonl").read() == {"a": record}


def test_the_reference_is_the_same_program_each_time_and_takes_no_gradient():
    first, again = reference()(), reference()()
    assert torch.equal(first, again)
    assert not first.requires_grad
    assert first.shape == (64, 256)
    assert torch.isfinite(first).all()
