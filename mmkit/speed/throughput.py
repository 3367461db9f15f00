"""Throughput in samples per second, compared in interleaved rounds, and latency of single calls.

Throughput is compared, so it comes from interleaved rounds. Latency is the time that a caller waits: each call is timed
alone, in wall time, with the device synchronised.
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
"""The least number of calls for a percentile: with 95 % probability one of 59 exceeds the 95th, one of 299 the 99th."""


@dataclass(frozen=True)
class Throughput:
    """Samples per second of each candidate.

    Args:
        timings: of the calls.
        samples: per call.
    """

    timings: Timings
    samples: int

    def samples_per_s(self, name: str) -> float:
        """Samples per second of a candidate, by the median of the rounds."""
        return self.samples / self.timings.median(name)

    def quartiles(self, name: str) -> tuple[float, float]:
        """The first and the third quartile over the rounds, in samples per second."""
        fast, slow = self.timings.quartiles(name)
        return self.samples / slow, self.samples / fast

    def compare(self, name: str, other: str, *, margin: float = 0.02) -> Comparison:
        """Compare the time of `name` with that of `other`; a ratio below 1 means that `name` is faster."""
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
    """Measure the samples per second of several candidates against each other.

    Args:
        candidates: functions to call, by name: `lambda: model(batch)` under `torch.inference_mode`, or a training step.
        samples: per call.
        rounds: number of interleaved rounds.
        device: on which the calls compute.
        seed: of the random order.
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
    """Latency of a call in milliseconds: `p50`, `p95` and `p99`; see `waits` and `percentiles`."""
    return percentiles(waits(call, calls=calls, device=device, max_seconds=max_seconds, clock=clock))


def waits(
    call: Call,
    *,
    calls: int = 300,
    device: torch.device | str = "cpu",
    max_seconds: float | None = None,
    clock: Clock | None = None,
) -> list[float]:
    """The seconds that a caller waits for each of several calls.

    Args:
        call: one request, usually a batch of one sample.
        calls: number of calls, each timed alone.
        device: on which it computes.
        max_seconds: start no call later; one is always timed.
        clock: returns seconds; None is wall time.
    """
    now = clock or time.perf_counter
    start = now()
    # Wall time, also with a single thread: that is what a caller waits.
    watch = Stopwatch("wall time", stopwatch(device, now).block, 0.004)
    warm_up(watch, call, watch.min_block)
    synchronize = synchronizer(device)
    seconds: list[float] = []
    while len(seconds) < calls and (not seconds or max_seconds is None or now() - start < max_seconds):
        began = now()
        call()
        synchronize()
        seconds.append(now() - began)
    return seconds


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """The percentiles `p50`, `p95` and `p99` in milliseconds; p95 is None below 59 calls, p99 below 299."""
    return {
        name: float(np.quantile(seconds, int(name[1:]) / 100)) * 1000 if len(seconds) >= fewest else None
        for name, fewest in _CALLS_FOR.items()
    }
