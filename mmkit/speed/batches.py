"""Throughput by the size of a batch: doubled until it stops growing, memory would not suffice, or a call takes long.

How far to go is found by a few calls of each size; the rates come from interleaved rounds of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from mmkit.speed.interleave import interleave
from mmkit.speed.memory import free_memory, peak_memory
from mmkit.speed.stopwatch import Call, Clock, stopwatch, warm_up
from mmkit.speed.throughput import Throughput

LARGEST = 1 << 16
"""Samples of the largest batch that is tried."""
GROWTH = 1.05
"""By how much a doubled batch must raise the throughput to count as growth."""
FLAT = 2
"""Doublings without growth after which it is saturated."""
LONGEST = 1.0
"""Seconds of a call after which no larger batch is tried."""
SHARE = 0.5
"""Of the free memory that a batch and its call may take, as those before predict."""
End = Literal["saturated", "memory", "time", "largest"]


@dataclass(frozen=True)
class Rate:
    """Throughput of one size.

    Args:
        size: samples of a batch.
        samples_per_s: by the median of the rounds.
        quartiles: over the rounds.
        memory: peak bytes of a call beyond what was there before; None if it cannot be measured.
    """

    size: int
    samples_per_s: float
    quartiles: tuple[float, float]
    memory: int | None


@dataclass(frozen=True)
class Sweep:
    """Throughput by size.

    Args:
        rates: from the smallest size.
        end: why there is no larger one.
    """

    rates: list[Rate]
    end: End

    @property
    def enough(self) -> int:
        """The smallest size with 95 % of the best throughput."""
        best = max(rate.samples_per_s for rate in self.rates)
        return next(rate.size for rate in self.rates if rate.samples_per_s >= 0.95 * best)


def sweep(
    of: Callable[[int], tuple[Call, int]],
    *,
    device: torch.device | str = "cpu",
    rounds: int = 20,
    max_seconds: float | None = None,
    largest: int = LARGEST,
    clock: Clock | None = None,
) -> Sweep | None:
    """Sweep over sizes; None where memory suffices for no batch of one.

    Args:
        of: makes a call on a batch of so many samples, and says how many bytes that batch holds.
        device: on which it computes.
        rounds: of the interleaved measurement.
        max_seconds: limit of the interleaved measurement.
        largest: size that is tried.
        clock: see `interleave`.
    """
    calls: dict[int, Call] = {}
    memory: dict[int, int | None] = {}
    held = 0
    size, best, flat = 1, 0.0, 0
    end: End = "largest"
    while size <= largest:
        before = memory.get(size // 2)
        free = free_memory(device)
        if free is not None and 2 * (held + (before or 0)) > SHARE * free:
            end = "memory"
            break
        try:
            call, held = of(size)
            seconds = _seconds(call, device, clock)
            memory[size] = peak_memory(call, device=device)
        except torch.OutOfMemoryError:
            end = "memory"
            break
        calls[size] = call
        rate = size / seconds
        flat = 0 if rate > GROWTH * best else flat + 1
        best = max(best, rate)
        if flat >= FLAT:
            end = "saturated"
            break
        if seconds > LONGEST:
            end = "time"
            break
        size *= 2
    if not calls:
        return None
    timed = interleave(
        {str(size): call for size, call in calls.items()},
        rounds=rounds,
        device=device,
        max_seconds=max_seconds,
        clock=clock,
    )
    rates = []
    for size in calls:
        found = Throughput(timed, size)
        name = str(size)
        rates.append(Rate(size, found.samples_per_s(name), found.quartiles(name), memory[size]))
    return Sweep(rates, end)


def _seconds(call: Call, device: torch.device | str, clock: Clock | None) -> float:
    """Seconds of a call, once it is warm."""
    watch = stopwatch(device, clock)
    calls, _ = warm_up(watch, call, watch.min_block, LONGEST)
    return watch.block(call, calls) / calls
