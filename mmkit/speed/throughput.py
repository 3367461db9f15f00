"""Samples a second, of several combinations in one process, and the latency of one call.

Throughput asks what work costs: it is compared, so it comes from interleaved rounds. Latency asks how long a caller
waits: each call is timed alone, on the wall, with the device waited for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmkit.speed.interleave import Comparison, Timings, interleave
from mmkit.speed.stopwatch import Call, Clock, Stopwatch, stopwatch, synchronizer, warm_up

_CALLS_FOR = {"p50": 1, "p95": 59, "p99": 299}
"""Fewest calls for a percentile: with 95 % certainty one of 59 lies above the 95th, one of 299 above the 99th."""


@dataclass(frozen=True)
class Throughput:
    """Samples a second of each candidate.

    Args:
        timings: of the calls.
        samples: in each call.
    """

    timings: Timings
    samples: int

    def samples_per_s(self, name: str) -> float:
        """By the median of the rounds."""
        return self.samples / self.timings.median(name)

    def quartiles(self, name: str) -> tuple[float, float]:
        """The bounds of the middle half of the rounds, in samples a second."""
        fast, slow = self.timings.quartiles(name)
        return self.samples / slow, self.samples / fast

    def compare(self, name: str, other: str, *, margin: float = 0.02) -> Comparison:
        """Time of `name` over time of `other`: below 1 is faster."""
        return self.timings.compare(name, other, margin=margin)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        rates = {
            name: {"samples_per_s": self.samples_per_s(name), "quartiles": list(self.quartiles(name))}
            for name in self.timings.seconds
        }
        return {"samples": self.samples, "rates": rates, "timings": self.timings.as_json()}


def throughput(
    candidates: Mapping[str, Call],
    samples: int,
    *,
    rounds: int = 60,
    device: torch.device | str = "cpu",
    seed: int = 0,
    max_seconds: float | None = None,
    clock: Clock | None = None,
) -> Throughput:
    """Samples a second of calls that treat `samples` of them each, measured against each other.

    Args:
        candidates: the calls by name: `lambda: model(batch)` under `torch.inference_mode`, or a step of training.
        samples: in each call.
        rounds: of the interleaving.
        device: where the calls compute.
        seed: of the order.
        max_seconds: see `interleave`.
        clock: see `interleave`.
    """
    timings = interleave(candidates, rounds=rounds, device=device, seed=seed, max_seconds=max_seconds, clock=clock)
    return Throughput(timings, samples)


def latency(
    call: Call,
    *,
    calls: int = 300,
    device: torch.device | str = "cpu",
    max_seconds: float | None = None,
    clock: Clock | None = None,
) -> dict[str, float | None]:
    """Milliseconds that a caller waits for one call: `p50`, `p95` and `p99`; see `waits` and `percentiles`."""
    return percentiles(waits(call, calls=calls, device=device, max_seconds=max_seconds, clock=clock))


def waits(
    call: Call,
    *,
    calls: int = 300,
    device: torch.device | str = "cpu",
    max_seconds: float | None = None,
    clock: Clock | None = None,
) -> list[float]:
    """Seconds that a caller waits, of each call.

    Args:
        call: one request, usually a batch of one sample.
        calls: to time, each alone.
        device: where it computes.
        max_seconds: no call begins after it; one is always timed.
        clock: seconds; None is the wall.
    """
    now = clock or time.perf_counter
    start = now()
    # What a caller waits for is read on the wall, whatever the number of threads.
    watch = Stopwatch("wall time", stopwatch(device, now).block, 0.004)
    warm_up(watch, call, watch.least)
    synchronize = synchronizer(device)
    seconds: list[float] = []
    while len(seconds) < calls and (not seconds or max_seconds is None or now() - start < max_seconds):
        began = now()
        call()
        synchronize()
        seconds.append(now() - began)
    return seconds


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """`p50`, `p95` and `p99` in milliseconds.

    A percentile that so few calls cannot show is None: p95 below 59 calls, p99 below 299.
    """
    return {
        name: float(np.quantile(seconds, int(name[1:]) / 100)) * 1000 if len(seconds) >= fewest else None
        for name, fewest in _CALLS_FOR.items()
    }
