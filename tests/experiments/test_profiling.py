"""Traces of one combination: complete Chrome traces whose ranges name the parts of the model."""

import json
from collections import Counter

import pytest
import torch

import mmkit
from mmkit.errors import UsageError

SMALL = {
    "task": "synthetic-unique:train=48",
    "seeds": 1,
    "training": {"epochs": 1, "min_steps": 0, "lr": 0.002},
    "cost": False,
    "progress": False,
    "yardsticks": False,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    mmkit.bench(**SMALL, fusion=["concat", "late"], profile="late", out=folder)
    mmkit.bench(**SMALL, fusion="concat", profile=True, out=folder)
    return {path.name.partition("-")[0] + path.suffixes[0]: path for path in (folder / "profile").iterdir()}


def events(path):
    """The complete events of a trace, as its schema says: phase X, with a start and a duration in microseconds."""
    found = [event for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]
    assert all(event["dur"] >= 0 and isinstance(event["ts"], int | float) for event in found)
    return found


def test_there_is_one_trace_of_training_and_one_of_predictions(traces):
    assert set(traces) == {"late.train", "late.predict", "concat.train", "concat.predict"}


@pytest.mark.parametrize(("fusion", "heads"), [("concat", ["head"]), ("late", ["head of left", "head of right"])])
def test_each_part_of_the_model_is_a_range_inside_each_step(traces, fusion, heads):
    for work in ("train", "predict"):
        found = events(traces[f"{fusion}.{work}"])
        steps = [event for event in found if event["name"] == f"{work} step"]
        assert len(steps) == 5
        parts = ["encoder of left", "encoder of right", "fusion", *heads]
        counts = Counter(event["name"] for event in found)
        for part in parts:
            assert counts[part] == 5
            for event in (one for one in found if one["name"] == part):
                inside = [
                    s for s in steps if s["ts"] <= event["ts"] and event["ts"] + event["dur"] <= s["ts"] + s["dur"]
                ]
                assert len(inside) == 1


def test_a_training_step_has_a_backward_pass_and_an_optimiser_and_a_prediction_has_none(traces):
    train, predict = (Counter(e["name"] for e in events(traces[f"concat.{work}"])) for work in ("train", "predict"))
    assert any("Backward" in name for name in train)
    assert any("Optimizer" in name or "adam" in name.lower() for name in train)
    assert not any("Backward" in name for name in predict)
    assert predict["aten::linear"] > 0


def test_the_ranges_are_left_nowhere(traces):
    _, model = None, mmkit.fit(task=SMALL["task"], fusion="concat", training=SMALL["training"], device="cpu")[0]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profiler:
        model.predict([{}])
    assert not {event.key for event in profiler.key_averages()} & {"fusion", "head"}


def test_of_several_combinations_one_has_to_be_named_before_anything_is_written(tmp_path):
    out = tmp_path / "s"
    with pytest.raises(
        UsageError, match=r"of one combination, and there are 2; .*: concat, late, only:left, only:right"
    ):
        mmkit.bench(**SMALL, fusion=["concat", "late"], profile=True, out=out)
    with pytest.raises(UsageError, match="there is no such combination; did you mean late"):
        mmkit.bench(**SMALL, fusion=["concat", "late"], profile="lat", out=out)
    assert not out.exists()
