"""What combinations cost: measured beside each other, on models that are thrown away."""

from typing import ClassVar

import pytest
import torch

from mmkit.data.splits import splits_of
from mmkit.experiments.costs import measure_costs
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.sharing import Shared
from mmkit.registry.catalog import installed
from mmkit.speed.flops import parameters
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings


@pytest.fixture(scope="module")
def planned():
    return plan(installed(), task="synthetic-unique:train=48", fusions=["concat", "late", "tensor:budget=1"], seeds=1)


@pytest.fixture(scope="module")
def found(planned):
    torch.set_num_threads(1)
    splits = splits_of(planned.task, installed(), Settings("cpu"))

    class Told(Progress):
        stages: ClassVar = []

        def stage(self, what):
            self.stages.append(what)

    told = Told()
    combinations = {combination.label: combination for combination in planned.all}
    result = measure_costs(
        combinations, splits, planned.training, Settings("cpu"), Shared(progress=told), rounds=6, max_seconds=3
    )
    assert "test" not in splits.unread  # speed needs no test split
    return result, told.stages


def test_combinations_that_can_be_built_have_costs_and_others_are_left_out(found):
    assert set(found[0].of) == {"concat", "late", "only:left", "only:right"}


def test_every_cost_is_measured(found):
    for speed, cost in found[0].of.values():
        assert speed.inference_samples_per_s > 0
        assert speed.train_samples_per_s > 0
        assert speed.latency_ms["p50"] > 0
        assert (speed.inference_batch_size, speed.train_batch_size) == (64, 32)
        assert cost.flops_per_sample > 0
        assert cost.flops_uncounted == []
        assert cost.peak_memory_bytes > 4 * cost.parameters


def test_parameters_are_those_of_the_trained_model(planned, found):
    _, model = execute(
        plan(
            installed(),
            task="synthetic-unique:train=48",
            fusions=["late"],
            seeds=1,
            training={"epochs": 1, "min_steps": 0},
        ).runs()[0]
    )
    assert found[0].of["late"].cost.parameters == parameters(model.module)[0]


def test_the_rounds_are_kept(found):
    result, told = found
    assert set(result.rounds) == {"inference", "train"}
    assert set(result.rounds["train"]["rates"]) == set(result.of)
    assert told[:2] == ["throughput of inference", "throughput of training"]


def test_without_buildable_combinations_there_are_no_costs(planned):
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    (tensor,) = [c for c in planned.combinations if c.label.startswith("tensor")]
    assert measure_costs({"tensor": tensor}, splits, planned.training, Settings("cpu")).of == {}
