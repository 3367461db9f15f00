"""The time of parts of a model, measured in place: within whole calls of it, from marks around the modules.

Each call is a whole one, so every part finds caches and memory as it leaves them in use; what lies between the marked
modules is a part as well, the rest. Whether the parts add up is asked of the same call without marks, which is timed in
the same rounds, twice: as whole, and as its twin, whose distance from it is the noise of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mmkit.speed.interleave import Comparison, Timings, compare, interleave
from mmkit.speed.stopwatch import Call, Clock, synchronizer

REST = "rest"
"""The name of what lies between the parts."""


@dataclass(frozen=True)
class Parts:
    """Seconds of the parts of a call.

    Args:
        timings: of the call without marks ("whole"), of the same again ("twin"), and with marks ("marked").
        seconds: of each part in each round, and of the rest.
    """

    timings: Timings
    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Median seconds of a part."""
        return float(np.median(self.seconds[name]))

    @property
    def closure(self) -> Comparison:
        """The sum of the parts beside the whole."""
        return compare(tuple(map(sum, zip(*self.seconds.values(), strict=True))), self.timings.seconds["whole"])

    @property
    def twin(self) -> Comparison:
        """The whole beside itself."""
        return self.timings.compare("twin", "whole")


def parts_of(
    call: Call,
    modules: Mapping[str, str],
    model: nn.Module,
    *,
    rounds: int = 60,
    device: torch.device | str = "cpu",
    max_seconds: float | None = None,
    clock: Clock | None = None,
) -> Parts:
    """Time the parts of a call.

    Args:
        call: runs `model`; each call must do the same work.
        modules: the names of modules in `model`, none of which is within another, with the name of the part that each
            belongs to. One that is not called counts nothing.
        model: that the modules are in.
        rounds: see `interleave`.
        device: on which it computes.
        max_seconds: see `interleave`.
        clock: see `interleave`.
    """
    marks = _Marks(torch.device(device), clock)

    def marked() -> None:
        with marks.on(model, modules):
            call()

    candidates = {"whole": call, "twin": lambda: call(), "marked": marked}  # noqa: PLW0108 (another object)
    timings = interleave(candidates, rounds=rounds, device=device, max_seconds=max_seconds, clock=clock)
    return Parts(timings, marks.rounds(timings.calls["marked"], timings.rounds, dict.fromkeys(modules.values())))


class _Marks:
    """Times of entering and leaving modules, call by call."""

    def __init__(self, device: torch.device, clock: Clock | None = None) -> None:
        self._device = device
        self._calls: list[list[tuple[str, Any, Any]]] = []
        """Of each call the parts with the marks around them; the first is the whole call."""
        single = device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = clock or (time.thread_time if single else time.perf_counter)
        self._events = device.type == "cuda" and clock is None
        self._wait = synchronizer(device)

    def _now(self) -> Any:
        if self._events:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        if self._device.type != "cpu":
            self._wait()
        return self._clock()

    def _seconds(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) / 1000 if self._events else float(end - start)

    @contextmanager
    def on(self, model: nn.Module, modules: Mapping[str, str]) -> Iterator[None]:
        """A context in which a call of the model leaves marks."""
        found: list[tuple[str, Any, Any]] = []
        begun: dict[str, Any] = {}

        def enter(name: str) -> Callable[..., None]:
            return lambda *_: begun.__setitem__(name, self._now())

        def leave(name: str, part: str) -> Callable[..., None]:
            return lambda *_: found.append((part, begun.pop(name), self._now()))

        handles = []
        for name, part in modules.items():
            module = model.get_submodule(name)
            handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name, part))]
        start = self._now()
        try:
            yield
        finally:
            end = self._now()
            for handle in handles:
                handle.remove()
        self._calls.append([("", start, end), *found])

    def rounds(self, calls: int, rounds: int, parts: Mapping[str, None]) -> dict[str, tuple[float, ...]]:
        """Seconds a call of each part and of the rest, round by round; what came before was the warm-up."""
        self._wait()
        measured = self._calls[-calls * rounds :]
        found: dict[str, list[float]] = {name: [] for name in (*parts, REST)}
        for at in range(rounds):
            sums = dict.fromkeys(found, 0.0)
            for (_, start, end), *inside in measured[at * calls : (at + 1) * calls]:
                of_parts = [(part, self._seconds(a, b)) for part, a, b in inside]
                for part, seconds in of_parts:
                    sums[part] += seconds
                sums[REST] += self._seconds(start, end) - sum(seconds for _, seconds in of_parts)
            for part, seconds in sums.items():
                found[part].append(seconds / calls)
        return {part: tuple(seconds) for part, seconds in found.items()}
