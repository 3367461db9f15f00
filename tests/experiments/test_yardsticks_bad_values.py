"""Yardsticks take the samples that runs take: what is to be dropped is dropped, and test may have no truth."""

import math

import pytest
import torch

import mmkit
from mmkit.contract import Samples
from mmkit.experiments.costs import Costs
from tests.experiments.test_yardsticks import Given

TRAINING = {"epochs": 1, "min_steps": 0, "lr": 0.01}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda combinations, *_, **__: Costs({}, {}))


def task(modality, changed, kind="classes"):
    """One input that says the class, or a number of it; `changed` gives truths of a split by place."""

    class Task:
        description = "d"
        inputs = {"x": modality, "y": "series"}  # noqa: RUF012
        target, metric = kind, "accuracy" if kind == "classes" else "rmse"
        encoders = {}  # noqa: RUF012
        training = {}  # noqa: RUF012

        def split(self, name):
            start = 1000 * ["train", "validation", "test"].index(name)
            truth = ["ab"[i % 2] if kind == "classes" else float(i % 2) for i in range(60)]
            for place, one in changed.get(name, {}).items():
                truth[place] = one
            series = [torch.tensor([[i % 2, i / 60 + start / 1e6, 0.0]]) for i in range(60)]
            cells = [{"kind": "uv"[i % 2], "place": start + i} for i in range(60)]
            ids = [f"{name}{i}" for i in range(60)]
            return Samples(ids, {"x": cells if modality == "table" else series, "y": series}, truth)

    return Task


def beside(tmp_path, given, on_error="fail", modality="table"):
    encoders = {"y": Given} if modality == "table" else {"x": Given, "y": Given}
    suite = mmkit.bench(
        task=given,
        encoders=encoders,
        fusion="concat",
        baselines=False,
        seeds=1,
        training=TRAINING,
        on_error=on_error,
        out=tmp_path / "suite",
        cache=tmp_path / "cache",
        progress=False,
    )
    assert [record.error for record in suite.records] == [None] * len(suite.records)
    return {r.fusion.removeprefix("yardstick: "): r for r in suite.records if r.purpose == "yardstick"}


@pytest.mark.parametrize("on_error", ["skip", "missing"])
@pytest.mark.parametrize("modality", ["table", "series"])
def test_a_class_that_only_test_has_is_left_out(tmp_path, on_error, modality):
    found = beside(tmp_path, task(modality, {"test": {3: "z", 9: "q"}}), on_error, modality)
    names = {"boosting of x"} if modality == "table" else {f"logistic regression, {way}" for way in WAYS}
    assert set(found) == names
    for record in found.values():
        assert (record.samples.train, record.samples.validation, record.samples.test) == (60, 60, 58)
        assert record.metrics["accuracy"] == 1


WAYS = ("joined", "late", "product")


def test_truth_that_is_no_number_is_left_out(tmp_path):
    given = task("table", {"train": {1: math.nan}, "validation": {2: "many"}, "test": {3: math.inf}}, "scalar")
    record = beside(tmp_path, given, "skip")["boosting of x"]
    assert (record.samples.train, record.samples.validation, record.samples.test) == (59, 59, 59)


@pytest.mark.parametrize("modality", ["table", "series"])
def test_test_without_truth_has_no_metric(tmp_path, modality):
    found = beside(tmp_path, task(modality, {"test": dict.fromkeys(range(60))}), modality=modality)
    for record in found.values():
        assert record.metrics == {}
        assert record.validation["accuracy"] == 1
        assert record.samples.test == 0
    assert found


def test_a_row_that_is_left_out_is_left_out_with_its_truth(tmp_path):
    """The first training sample goes; were its truth kept, every other row would have that of its neighbour."""
    given = task("table", {"train": {0: math.nan}, "validation": {1: "z"}})
    record = beside(tmp_path, given, "skip")["boosting of x"]
    assert (record.samples.train, record.samples.validation) == (59, 59)
    assert record.validation["accuracy"] == record.metrics["accuracy"] == 1
