"""What combinations cost: measured beside each other, on models that are thrown away."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.data.splits import splits_of
from mmkit.encoders.fcn import FcnEncoder
from mmkit.experiments.costs import measure_costs
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.experiments.subject import Subject
from mmkit.features.sharing import Shared
from mmkit.plugin import EncoderSpec
from mmkit.pretrained.tuning import Tuned
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


class Tunable(nn.Module):
    """An encoder of series whose weights are tuned, as if they came from a file."""

    reads = FcnEncoder.reads
    augments = False

    def __init__(self, transform):
        super().__init__()
        self.encoder = Tuned(nn.Linear(transform.channels, 8), "full", blocks=())
        self.width = 8

    def forward(self, batch):
        return Features.of(self.encoder(batch["steps"]), batch["mask"])


@pytest.mark.parametrize(
    ("encoder", "training", "parts", "parts_of_probe"),
    [
        ("fcn", {}, [32], [32]),
        ("fcn", {"micro_batch": 20}, [16, 16], [16, 16]),
        (Tunable, {}, [8] * 4, [32]),  # what training does while it tunes
        (Tunable, {"micro_batch": 16}, [16, 16], [16, 16]),
    ],
)
def test_a_step_passes_in_the_parts_in_which_training_lets_it_pass(encoder, training, parts, parts_of_probe):
    spec = {} if encoder == "fcn" else {"spec": EncoderSpec("tunable", "", "", modality="series")}
    chosen = installed().choose("encoder", encoder, **spec)
    planned = plan(
        installed(),
        task="synthetic-unique:train=48",
        encoders={"series": [chosen]},
        fusions=["concat"],
        seeds=1,
        training=training,
    )
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    subject = Subject(
        planned.combinations[0],
        splits,
        training=planned.training,
        settings=Settings("cpu"),
        shared=Shared(),
        features=Shared(),
    )
    sizes = []
    subject.step.register_forward_pre_hook(lambda _, given: sizes.append(len(given[1]["mask"])))
    subject.train()
    assert sizes == parts
    sizes.clear()
    subject.probe()
    assert sizes == parts_of_probe


def test_the_rounds_are_kept(found):
    result, told = found
    assert set(result.rounds) == {"inference", "train"}
    assert set(result.rounds["train"]["rates"]) == set(result.of)
    assert told[:2] == ["throughput of inference", "throughput of training"]


def test_without_buildable_combinations_there_are_no_costs(planned):
    splits = splits_of(planned.task, installed(), Settings("cpu"))
    (tensor,) = [c for c in planned.combinations if c.label.startswith("tensor")]
    assert measure_costs({"tensor": tensor}, splits, planned.training, Settings("cpu")).of == {}
