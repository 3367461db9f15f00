"""A training that is ended anywhere and goes on from its checkpoint gives what one gives that was not, bit for bit."""

import json
import os
import signal

import pytest
import torch
from safetensors import safe_open
from torch import nn

from mmkit.contract import ModelOutput
from mmkit.data.dataset import Dataset
from mmkit.data.readings import Live
from mmkit.data.whole import Whole
from mmkit.errors import DataError, MmkitError
from mmkit.training.checkpoints import Checkpoints, packed, unpacked
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training


class EndedError(Exception):
    """The process ends here."""


class Net(nn.Module):
    """A step with dropout, a batch norm and a frozen parameter; it ends at one of its forward passes."""

    balance = None

    def __init__(self, end=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.drop = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.last = nn.Linear(8, 1)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.end, self.passes = end, 0

    def forward(self, batch, truth, count=None):
        self.passes += self.training
        if self.passes == self.end:
            raise EndedError
        x = batch["x"]["x"] + 0.1 * torch.rand_like(batch["x"]["x"])
        error = self.last(self.drop(self.norm(self.first(x)))).squeeze(-1) - truth["values"]
        return {"head": error.square().mean() + 0 * self.frozen.sum()}, ModelOutput({}, None, error)


class Jitter:
    """A transform that augments."""

    augments = True

    def __call__(self, values, generator=None):
        x = torch.stack(list(values))
        return {"x": x + torch.rand(x.shape, generator=generator), "mask": torch.ones(len(x), dtype=torch.bool)}


def data(*, live=False):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(20, dtype=torch.bool)
    given = Live("x", Jitter(), list(x), [str(i) for i in range(20)]) if live else Whole({"x": x, "mask": mask})
    return Dataset(20, {"x": given}, {"values": x.sum(1), "mask": mask})


def run(checkpoints=None, *, end=None, live=False, precision="float32", drawn=0, **options):
    step = Net(end)
    torch.rand(drawn)
    given = data(live=live)

    def validate():
        step.eval()
        with torch.no_grad():
            batch, truth = data().batch(torch.arange(20))
            loss = float(step(batch, truth)[0]["head"])
        return -loss, {"loss": loss}

    training = Training(**{"epochs": 4, "min_steps": 0, "batch_size": 6, "lr": 0.05, **options})
    trained = fit(
        step, given, validate, training, seed=3, precision=precision, start_counts=True, checkpoints=checkpoints
    )
    return trained, step.state_dict()


def resumed(path, ends, options, **when):
    """The result of a training that ends at each of some steps, counted from where it went on."""
    for end in ends:
        with pytest.raises(EndedError):
            run(Checkpoints(path, **when), end=end, **options)
    return run(Checkpoints(path, **when), **options)


STEPWISE = {"minutes": 1e-9, "epochs": 1}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ema": 0.9},
        {"average": 3},
        {"live": True},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"micro_batch": 3, "clip": None},
        {"patience": 1, "epochs": 9},
        {"ema": 0.8, "average": 2, "live": True, "patience": 2, "warmup": 0.5},
    ],
)
@pytest.mark.parametrize(
    ("ends", "when"),
    [
        ([2, 3, 5], STEPWISE),  # within the first epoch, within it again, and within a later one
        ([5], {"minutes": None, "epochs": 1}),  # the first step of an epoch
        ([7], {"minutes": None, "epochs": 1}),  # what was done since the end of an epoch is done again
        ([4, 7], {"minutes": None, "epochs": 2}),  # before any checkpoint
        ([6, 1], {"minutes": 1e-9, "epochs": None}),
    ],
)
def test_what_is_trained_is_the_same_bit_for_bit(tmp_path, options, ends, when):
    plain, weights = run(**options)
    torch.rand(5)
    again, found = resumed(tmp_path / "c.safetensors", ends, options, **when)
    assert again == plain
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_what_the_caller_has_drawn_changes_nothing():
    """Neither of the start, nor of what is averaged, though this step draws in evaluation."""
    plain, weights = run(average=3)
    again, found = run(average=3, drawn=5)
    assert again == plain
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_checkpoints_change_nothing_where_nothing_ends(tmp_path):
    plain, weights = run()
    again, found = run(Checkpoints(tmp_path / "c.safetensors", **STEPWISE))
    assert again == plain
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_after_the_last_epoch_nothing_is_trained_again(tmp_path):
    path = tmp_path / "c.safetensors"
    plain, _ = run(Checkpoints(path))
    again, _ = run(Checkpoints(path), end=1)
    assert again == plain


def test_parameters_that_are_not_trained_are_not_written(tmp_path):
    path = tmp_path / "c.safetensors"
    run(Checkpoints(path))
    with safe_open(str(path), "pt") as file:
        assert not any(file.get_tensor(name).shape == (2,) for name in file.keys())  # noqa: SIM118


def test_checkpoints_are_written_by_time_and_by_epoch(tmp_path):
    now = 0.0

    def count(minutes, epochs):
        written = []
        one = Checkpoints(tmp_path / "c.safetensors", minutes, epochs, clock=lambda: now)

        def write(state):
            written.append((state["epoch"], state["number"]))
            one._last = now

        one.write = write
        nonlocal_time(one)
        run(one)
        return written

    def nonlocal_time(one):
        after = one.after_step

        def step(state):
            nonlocal now
            now += 30.0
            after(state)

        one.after_step = step

    # Four steps an epoch, the last of which ends it. A step takes half a minute.
    assert count(1, None) == [(1, 2), (2, 0), (2, 2), (3, 0), (3, 2), (4, 0), (4, 2), (5, 0)]
    assert count(None, 2) == [(3, 0), (5, 0)]
    assert count(None, None) == []


def test_a_checkpoint_of_another_training_is_not_read(tmp_path):
    path = tmp_path / "c.safetensors"
    run(Checkpoints(path, of="one"))
    assert Checkpoints(path, of="one").read() is not None
    assert Checkpoints(path, of="other").read() is None
    assert Checkpoints(tmp_path / "none", of="one").read() is None
    assert Checkpoints(path, of="one", phase="tuning").found() is None


@pytest.mark.parametrize("content", [b"", b"mush", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_checkpoint_is_one_error(tmp_path, content):
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"the checkpoint .*c.safetensors cannot be read: .*; remove it to begin anew"):
        run(Checkpoints(path))


def test_a_checkpoint_that_cannot_be_written_is_one_error(tmp_path):
    with pytest.raises(MmkitError, match=r"cannot write the checkpoint .*/gone/c.safetensors: "):
        run(Checkpoints(tmp_path / "gone" / "c.safetensors"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_after_the_step_with_a_checkpoint(tmp_path, number):
    path = tmp_path / "c.safetensors"
    one = Checkpoints(path, None, None)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    class Interrupted(Net):
        def forward(self, batch, truth, count=None):
            if self.training and self.passes == 5:  # the sixth, of four an epoch
                os.kill(os.getpid(), number)
            return super().forward(batch, truth)

    step = Interrupted()
    training = Training(epochs=4, min_steps=0, batch_size=6, lr=0.05)
    with pytest.raises(KeyboardInterrupt):
        fit(step, data(), lambda: (0.0, {}), training, seed=3, checkpoints=one)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert one.found()["epoch"] == 2
    assert one.found()["number"] == 2
    assert not list(tmp_path.glob(".*"))


def test_a_second_interruption_ends_at_once(tmp_path):
    one, went = Checkpoints(tmp_path / "c.safetensors", None, None), []

    def interrupted():
        with one.interruptible():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                went.append(1)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert went == [1]
    assert one.read() is None


def test_nested_values_come_back():
    shared = torch.arange(3.0)
    value = {
        "a": [1, 2.5, None, True, "x"],
        3: (torch.tensor(1.5), {"b": shared, "c": shared}),
        "i": torch.arange(4)[::2],
        "empty": torch.zeros(0, 2),
        "flag": torch.tensor([True, False]),
    }
    tensors = {}
    document = json.loads(json.dumps(packed(value, tensors, {})))
    found = unpacked(document, tensors)
    assert found["a"] == value["a"]
    assert isinstance(found[3], tuple)
    assert torch.equal(found[3][0], value[3][0])
    assert torch.equal(found[3][1]["b"], shared)
    assert torch.equal(found["i"], torch.tensor([0, 2]))
    assert found["empty"].shape == (0, 2)
    assert found["flag"].dtype == torch.bool
    assert len(tensors) == 5  # what is shared is kept once
    with pytest.raises(TypeError, match="a checkpoint holds tensors and plain values; got set"):
        packed({"a": {1}}, {}, {})
