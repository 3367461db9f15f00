"""Runs and suites on the device: training, determinism, saving, what fails, and what is measured."""

import json
import weakref

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features
from mmkit.data.dataset import Dataset
from mmkit.data.splits import splits_of
from mmkit.data.subset import first
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.model.trained import MultimodalModel
from mmkit.speed.memory import peak_memory
from mmkit.system.settings import Settings
from mmkit.training.descent import losses

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # a warning of a new device breaks nothing

TASK = "synthetic-unique:train=256,modality=table"
ENCODERS = {"table": "table-mlp:width=32,dropout=0"}
SMALL = {"epochs": 4, "min_steps": 0, "lr": 2e-3}


def fit(device, **given):
    return mmkit.fit(**{"task": TASK, "encoders": ENCODERS, "training": SMALL, "device": device.type, **given})


def curve(record):
    return [epoch["loss"] for epoch in record.history]


@pytest.mark.parametrize("fusion", ["concat", "attention:dropout=0", "late"])
def test_training_takes_the_same_way_as_on_the_cpu(fusion, device):
    _, there = fit(device, fusion=fusion)
    _, here = fit(torch.device("cpu"), fusion=fusion)
    assert there.run["device"] == device.type
    assert curve(there) == pytest.approx(curve(here), rel=0.02)
    assert there.metrics["accuracy"] == pytest.approx(here.metrics["accuracy"], abs=0.03)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_half_precision_comes_near_float32(precision, device):
    _, half = fit(device, fusion="gated", precision=precision)
    _, full = fit(device, fusion="gated")
    assert curve(half) == pytest.approx(curve(full), rel=0.1)


def test_the_same_seed_gives_the_same_to_the_bit(device):
    """Of matrix products; sums by many threads at once, as in some backwards of CUDA, have no order."""
    (one, first_record), (other, second_record) = (fit(device, fusion="gated") for _ in range(2))
    assert curve(first_record) == curve(second_record)
    for (name, ours), theirs in zip(one.module.state_dict().items(), other.module.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_same_seed_gives_nearly_the_same_whatever_the_encoders(device, record_property):
    records = [mmkit.fit(task="digits", fusion="attention", training=SMALL, device=device.type)[1] for _ in range(2)]
    curves = [curve(record) for record in records]
    record_property("to_the_bit", curves[0] == curves[1])
    assert curves[0] == pytest.approx(curves[1], rel=1e-2)


def test_a_run_leaves_the_generators_of_others_alone(device):
    torch.manual_seed(3)
    before = torch.get_rng_state(), state_on(device)
    fit(device, fusion="attention")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(state_on(device), before[1])


def state_on(device):
    return torch.cuda.get_rng_state() if device.type == "cuda" else torch.get_rng_state()


@pytest.mark.parametrize("way", ["from the device", "from the CPU"])
def test_a_saved_model_answers_alike_on_either_side(way, device, tmp_path):
    cpu = torch.device("cpu")
    made, read = (device, cpu) if way == "from the device" else (cpu, device)
    model, _ = fit(made, fusion="gated")
    catalog = mmkit.installed()
    splits = splits_of(catalog.choose("task", TASK), catalog, Settings("cpu"))
    test = first(splits("test"), 40)
    samples = [{name: column[i] for name, column in test.inputs.items()} for i in range(len(test))]
    model.save(tmp_path / "model")
    again = mmkit.load(tmp_path / "model", device=read)
    assert isinstance(again, MultimodalModel)
    assert {parameter.device.type for parameter in again.module.parameters()} == {read.type}
    for found, expected in zip(again.predict(samples), model.predict(samples), strict=True):
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)


ALIVE = weakref.WeakSet()


class Greedy(nn.Module):
    """A fusion that asks for more memory than there is, once a batch is larger than that of the rehearsal."""

    def __init__(self, widths):
        super().__init__()
        self.width = 4
        self.mix = nn.Linear(sum(widths.values()), 4)
        ALIVE.add(self)

    def forward(self, features):
        joined = torch.cat([features[name].vector() for name in sorted(features)], 1)
        if len(joined) > 8:
            torch.empty(2**46, dtype=torch.uint8, device=joined.device)
        return Features.of(self.mix(joined))


def test_out_of_memory_is_a_failed_run_and_the_rest_goes_on(device, tmp_path):
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    suite = mmkit.bench(
        task=TASK, encoders=ENCODERS, fusion=[Greedy, "concat"], seeds=1, training=SMALL, device=device.type,
        yardsticks=False, out=tmp_path, cache=tmp_path / "kept",
    )  # fmt: skip
    found = {record.fusion.rpartition(".")[2]: record for record in suite.records}
    assert found["Greedy"].status == "failed"
    reason = "OutOfMemoryError: CUDA out of memory" if device.type == "cuda" else "can't allocate memory"
    assert reason in found["Greedy"].error
    others = [record for name, record in found.items() if name != "Greedy"]
    assert [(record.status, record.error) for record in others] == [("ok", None)] * 3
    assert all(record.throughput.train_samples_per_s > 0 for record in others)
    assert len(ALIVE) == 0
    if device.type == "cuda":
        assert torch.cuda.memory_allocated() - before < 64 << 20


def test_a_suite_reads_the_clock_of_the_device(device, tmp_path):
    suite = mmkit.bench(
        task=TASK, encoders=ENCODERS, fusion="concat", seeds=1, baselines=False, training=SMALL, device=device.type,
        yardsticks=False, out=tmp_path, cache=tmp_path / "kept",
    )  # fmt: skip
    rounds = json.loads((tmp_path / "suite.json").read_text())["rounds"]
    clock = "CUDA events" if device.type == "cuda" else "thread CPU time"
    assert {part["timings"]["clock"] for part in rounds.values()} == {clock}
    (record,) = suite.records
    assert record.cost.peak_memory_bytes > 0
    assert record.cost.flops_per_sample > 0


def test_peak_memory_is_what_a_call_needs_at_its_highest(device):
    size = 64 << 20

    def call():
        torch.zeros(size, dtype=torch.uint8, device=device)

    found = peak_memory(call, device=device)
    if found is None:
        pytest.skip("this system does not tell")
    assert 0.95 * size <= found < 1.2 * size


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_of_training_waits_for_nothing(precision, cuda):
    """What waits for the device in every step leaves it idle while the next is prepared."""
    catalog = mmkit.installed()
    splits = splits_of(catalog.choose("task", TASK), catalog, Settings("cpu"))
    train = splits.with_truth("train")
    chosen = {name: catalog.choose("encoder", ENCODERS["table"]) for name in splits.task.inputs}
    combination = Combination(chosen, catalog.choose("fusion", "gated"), catalog.choose("head", "linear"))
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    model, objectives = build_model(combination, transforms)
    step = TrainingStep(model, objectives).to(cuda).train()
    data = Dataset.of(train, transforms.inputs, transforms.truth, augment=False).to(cuda)
    optimizer = torch.optim.AdamW(step.parameters(), fused=True)
    index = torch.arange(data.size, device=cuda).split(32)

    def one(number):
        batch, truth = data.batch(index[number])
        loss = sum(losses(step, batch, truth, precision).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(step.parameters(), 1.0, foreach=True)
        optimizer.step()

    one(0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        one(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
