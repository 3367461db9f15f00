"""Ways of execution: compiled for real, recorded on a device that is swapped, and refused where they are wrong."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from mmkit.speed import modes
from mmkit.speed.modes import COMPILED, EAGER, GRAPH, prepared, timed


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, batch):
        return {"probabilities": self.layers(batch).softmax(-1)}


def forward_of(model, batch):
    def forward():
        with torch.inference_mode():
            return model(batch)

    return forward


def changed(outputs):
    """A compiler that changes the outputs."""
    return lambda call, **_: lambda batch: {"probabilities": outputs(call(batch)["probabilities"])}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().eval()


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, where inductor is imported
def test_compiled_for_real_it_computes_the_same_and_its_preparing_is_timed_apart(model):
    forward = forward_of(model, torch.randn(16, 8))
    ready = prepared(forward, model)
    compiled = ready[COMPILED]
    assert (compiled.refused, compiled.seconds > 0.1) == ("", True)
    assert compiled.difference < 1e-5
    found = timed(ready, rounds=6, max_seconds=5)
    assert found.seconds.keys() == {EAGER, COMPILED}
    assert found.median(COMPILED) < compiled.seconds / 10
    assert "forward" not in vars(model) or model.forward == type(model).forward.__get__(model)


def test_on_a_cpu_a_graph_is_refused_in_one_line(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda call, **_: call)
    ready = prepared(forward_of(model, torch.randn(4, 8)), model)
    assert ready[GRAPH].call is None
    assert ready[GRAPH].refused == "CUDA graphs need a CUDA device; this is cpu"
    assert ready[COMPILED].difference == 0


def test_what_computes_something_else_is_not_timed(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", changed(lambda right: right + 0.1))
    ready = prepared(forward_of(model, torch.randn(4, 8)), model)
    assert ready[COMPILED].call is None
    assert ready[COMPILED].difference == pytest.approx(0.1, rel=1e-5)
    assert "differ by 0.1 from the usual ones" in ready[COMPILED].refused
    assert timed(ready, rounds=1).seconds.keys() == {EAGER}


def test_outputs_that_are_no_numbers_differ(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", changed(lambda right: right * float("nan")))
    assert prepared(forward_of(model, torch.randn(4, 8)), model)[COMPILED].call is None


def test_what_cannot_be_compiled_says_why_and_leaves_the_model_as_it_was(model, monkeypatch):
    def broken(call, **_):
        def fail(batch):
            raise TypeError("no graph of a dict\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    forward = forward_of(model, torch.randn(4, 8))
    before = forward()["probabilities"]
    ready = prepared(forward, model)
    assert ready[COMPILED].refused == "no graph of a dict"
    assert torch.equal(forward()["probabilities"], before)


def test_a_graph_is_recorded_after_a_warm_up_on_another_stream(model, monkeypatch):
    """The device is swapped: streams and the graph are ours, and the kernels run on the CPU."""
    did = []

    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            did.append(f"{self.name} waits for {other.name}")

    class Graph:
        def replay(self):
            did.append("replay")

    @contextlib.contextmanager
    def doing(what):
        did.append(f"begin {what}")
        yield
        did.append(f"end {what}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("main"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: doing(stream.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: doing("graph"))
    forward = forward_of(model, torch.randn(4, 8))

    def told():
        did.append("forward")
        return forward()

    call, result = modes._graph(told, model, torch.device("cuda"))
    assert did == [
        "side waits for main", "begin side", "forward", "forward", "forward", "end side", "main waits for side",
        "begin graph", "forward", "end graph",
    ]  # fmt: skip
    did.clear()
    assert torch.equal(result()["probabilities"], forward()["probabilities"])
    call()
    assert did == ["replay", "replay"]
