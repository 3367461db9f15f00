"""What combinations cost: measured beside each other, on models that are thrown away."""

import pytest
import torch

from mmkit.catalog import installed
from mmkit.measure.cost import parameters
from mmkit.plan import plan
from mmkit.price import prices
from mmkit.run import execute, splits_of


@pytest.fixture(scope="module")
def asked():
    return plan(installed(), task="synthetic-unique:train=48", fusions=["concat", "late", "tensor:budget=1"], seeds=1)


@pytest.fixture(scope="module")
def found(asked):
    torch.set_num_threads(1)
    splits = splits_of(asked.task, installed(), "fail", None)
    told = []
    combinations = {combination.label: combination for combination in asked.all}
    result = prices(combinations, splits, asked.training, "cpu", "float32", rounds=6, max_seconds=3, report=told.append)
    assert "test" not in splits.unread  # speed needs no test split
    return result, told


def test_what_can_be_built_has_a_price_and_what_cannot_is_left_to_its_run(found):
    assert set(found[0].of) == {"concat", "late", "only:left", "only:right"}


def test_every_figure_is_there(found):
    for price in found[0].of.values():
        speed, cost = price["throughput"], price["cost"]
        assert speed["inference_samples_per_s"] > 0
        assert speed["train_samples_per_s"] > 0
        assert speed["latency_ms"]["p50"] > 0
        assert (speed["inference_batch_size"], speed["train_batch_size"]) == (64, 32)
        assert cost["flops_per_sample"] > 0
        assert cost["flops_uncounted"] == []
        assert cost["peak_memory_bytes"] > 4 * cost["parameters"]


def test_parameters_are_those_of_the_trained_model(asked, found):
    _, model = execute(
        plan(
            installed(),
            task="synthetic-unique:train=48",
            fusions=["late"],
            seeds=1,
            training={"epochs": 1, "min_steps": 0},
        ).runs()[0]
    )
    assert found[0].of["late"]["cost"]["parameters"] == parameters(model.module)[0]


def test_the_rounds_are_kept(found):
    result, told = found
    assert set(result.rounds) == {"inference", "train"}
    assert set(result.rounds["train"]["rates"]) == set(result.of)
    assert told[:2] == ["throughput of inference", "throughput of training"]


def test_nothing_that_can_be_built_is_no_price(asked):
    splits = splits_of(asked.task, installed(), "fail", None)
    (tensor,) = [c for c in asked.combinations if c.label.startswith("tensor")]
    assert prices({"tensor": tensor}, splits, asked.training, "cpu", "float32").of == {}
