"""Parts of a call, measured in place: they are those of the modules, and add up to the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.speed import parts as parts_module
from mmkit.speed.parts import REST, parts_of

NAMES = {"first": "encoder", "second": "encoder", "third": "head"}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


CLOCK = Clock()


class Busy(nn.Module):
    """Computes for a while, by our clock."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, x):
        CLOCK.now += self.seconds
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.idle = Busy(0.001), Busy(0.002), Busy(0.004), Busy(1.0)
        self.between = Busy(0.001)

    def forward(self, x):
        return self.third(self.between(self.second(self.first(self.first(x)))))


def test_each_part_is_what_its_modules_compute_and_the_rest_is_the_rest():
    model = Model()
    found = parts_of(lambda: model(torch.ones(1)), {**NAMES, "idle": "never"}, model, rounds=7, clock=CLOCK)
    assert list(found.seconds) == ["encoder", "head", "never", REST]
    medians = {name: found.median(name) for name in found.seconds}
    # The first is called twice.
    assert medians == pytest.approx({"encoder": 0.004, "head": 0.004, "never": 0, REST: 0.001})
    assert {len(seconds) for seconds in found.seconds.values()} == {7}
    assert found.timings.median("whole") == pytest.approx(0.009)
    assert found.closure.ratio == pytest.approx(1)
    assert found.twin.ratio == pytest.approx(1)


def test_of_each_round_the_parts_are_those_of_its_own_calls():
    """The machine becomes slower with every call, which no part may hide."""
    model, start = Model(), CLOCK.now

    def call():
        for module in (model.first, model.third):
            module.seconds = 0.001 * (1 + 100 * (CLOCK.now - start))
        return model(torch.ones(1))

    found = parts_of(call, NAMES, model, rounds=8, clock=CLOCK)
    for part in ("encoder", "head"):
        assert list(found.seconds[part]) == sorted(found.seconds[part])
    for at, whole in enumerate(found.timings.seconds["marked"]):
        assert sum(found.seconds[part][at] for part in found.seconds) == pytest.approx(whole)


def test_nothing_of_it_stays_in_the_model():
    model = Model()
    parts_of(lambda: model(torch.ones(1)), NAMES, model, rounds=1, clock=CLOCK)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_parts_that_are_not_the_whole_do_not_add_up_to_it():
    model = Model()

    def slow_without_marks():
        if not model.first._forward_hooks:
            CLOCK.now += 0.004
        return model(torch.ones(1))

    found = parts_of(slow_without_marks, NAMES, model, rounds=6, clock=CLOCK)
    assert found.closure.ratio == pytest.approx(9 / 13)


def test_a_real_model_is_timed_by_the_clock_of_its_device():
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 8))
    found = parts_of(lambda: model(torch.ones(16, 64)), {"0": "encoder", "1": "head"}, model, rounds=2)
    assert found.timings.clock == "thread CPU time"
    assert all(min(seconds) > 0 for seconds in found.seconds.values())


class Event:
    """A CUDA event whose time is that of a clock that the device has."""

    now = 0.0

    def __init__(self, *, enable_timing):
        assert enable_timing

    def record(self):
        self.at = Event.now

    def elapsed_time(self, other):
        return 1000 * (other.at - self.at)


def test_on_cuda_events_are_left_and_read_when_all_is_done(monkeypatch):
    """The device is swapped: events are ours, and modules move their clock."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    waited = []
    monkeypatch.setattr(parts_module, "synchronizer", lambda device: lambda: waited.append(device.type))

    class Works(nn.Module):
        def __init__(self, seconds):
            super().__init__()
            self.seconds = seconds

        def forward(self, x):
            Event.now += self.seconds
            return x

    model = nn.Sequential(Works(0.25), Works(0.5), Works(0.125))
    marks = parts_module._Marks(torch.device("cuda"))
    for _ in range(7):
        with marks.on(model, {"0": "encoder", "1": "head"}):
            model(0)
    assert waited == []  # no call waits for the device
    assert marks.rounds(3, 2, {"encoder": None, "head": None}) == {
        "encoder": (0.25, 0.25), "head": (0.5, 0.5), REST: (0.125, 0.125)
    }  # fmt: skip
    assert waited == ["cuda"]
