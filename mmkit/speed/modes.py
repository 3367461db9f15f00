"""Ways to execute a model: as it is, compiled by torch.compile, and as a CUDA graph; preparing them is timed apart.

A way whose outputs differ from those of the model as it is is refused: correctness comes before speed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mmkit.speed.interleave import Timings, interleave
from mmkit.speed.stopwatch import Call, synchronizer

Way = Literal["eager", "compiled", "cuda graph"]
EAGER: Way = "eager"
COMPILED: Way = "compiled"
GRAPH: Way = "cuda graph"
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""The difference of outputs, of one that has the size of the largest, that rounding explains."""
LONGEST = 200
"""Letters of a reason."""
Forward = Callable[[], Mapping[str, Tensor]]
"""A prediction of one batch, as named tensors."""


@dataclass(frozen=True)
class Prepared:
    """A way that is ready, or why it is not.

    Args:
        call: to be timed; None where it is refused.
        seconds: of preparing it.
        difference: the greatest difference of its outputs.
        refused: why; empty if it is ready.
    """

    call: Call | None
    seconds: float = 0.0
    difference: float | None = None
    refused: str = ""


def prepared(forward: Forward, module: torch.nn.Module, device: torch.device | str = "cpu") -> dict[Way, Prepared]:
    """Each way, prepared.

    Args:
        forward: calls the module on a batch that stays where it is.
        module: that is compiled; its own `forward` is what is replaced.
        device: on which it computes.
    """
    expected = {name: value.clone() for name, value in forward().items()}
    found: dict[Way, Prepared] = {EAGER: Prepared(forward)}
    ways: tuple[tuple[Way, Callable[..., tuple[Call, Forward]]], ...] = ((COMPILED, _compiled), (GRAPH, _graph))
    for name, prepare in ways:
        began = time.perf_counter()
        try:
            call, result = prepare(forward, module, torch.device(device))
            outputs = result()
            synchronizer(device)()
        except Exception as error:  # noqa: BLE001 (compilers and drivers raise anything; it is told, in one line)
            found[name] = Prepared(None, time.perf_counter() - began, refused=_line(error))
            continue
        seconds = time.perf_counter() - began
        difference, allowed = _difference(expected, outputs)
        wrong = not difference <= allowed
        refused = f"its outputs differ by {difference:.2g} from the usual ones; {allowed:.2g} is rounding"
        found[name] = Prepared(None if wrong else call, seconds, difference, refused if wrong else "")
    return found


def timed(
    ready: Mapping[Way, Prepared],
    *,
    rounds: int = 60,
    device: torch.device | str = "cpu",
    max_seconds: float | None = None,
) -> Timings:
    """Time the ways that are ready, in turns; see `interleave`."""
    calls: dict[str, Call] = {name: one.call for name, one in ready.items() if one.call is not None}
    return interleave(calls, rounds=rounds, device=device, max_seconds=max_seconds)


def _compiled(forward: Forward, module: torch.nn.Module, device: torch.device) -> tuple[Call, Forward]:  # noqa: ARG001
    """The forward of which the module's own is compiled as one graph, as training compiles its steps."""
    eager = module.forward
    fast = torch.compile(eager, fullgraph=True)

    def call() -> Mapping[str, Tensor]:
        module.forward = fast
        try:
            return forward()
        finally:
            module.forward = eager

    call()
    return call, call


def _graph(forward: Forward, module: torch.nn.Module, device: torch.device) -> tuple[Call, Forward]:  # noqa: ARG001
    """The forward recorded once; a replay runs the same kernels on the same memory.

    A side stream runs it a few times before, so that what is made only once is not recorded (PyTorch, "CUDA semantics",
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
    """
    if device.type != "cuda":
        raise RuntimeError(f"CUDA graphs need a CUDA device; this is {device.type}")
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            forward()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = forward()

    def result() -> Mapping[str, Tensor]:
        graph.replay()
        return outputs

    return graph.replay, result


def _difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[float, float]:
    """The greatest difference of outputs, and that which is allowed."""
    if expected.keys() != found.keys() or any(expected[name].shape != found[name].shape for name in expected):
        return math.inf, 0.0
    greatest, allowed = 0.0, 0.0
    for name, value in expected.items():
        if value.is_floating_point():
            if not value.numel():
                continue
            difference = (value.double() - found[name].double()).abs().max().item()
            if math.isnan(difference):
                return math.inf, 0.0
            size = max(1.0, value.double().abs().max().item())
            greatest, allowed = max(greatest, difference), max(allowed, TOLERANCE[value.dtype] * size)
    return greatest, allowed


def _line(error: Any) -> str:
    """The first line of an error, and the next where that only leads to it; with its type where it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])
    return (text or type(error).__name__)[:LONGEST]
