"""How long a block of calls takes on each kind of device, and how a call is warmed up.

A block is timed as a whole: one reading of a clock before it and one after, and nothing between the calls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

import torch

Call = Callable[[], object]
Clock = Callable[[], float]

MOST_CALLS = 1 << 16
"""Calls in a block, at most: what costs nothing is not called for ever."""
_WINDOWS = 12
_AGREEMENT = 0.1


@dataclass(frozen=True)
class Stopwatch:
    """Times blocks of calls.

    Args:
        name: what it reads, for the record.
        block: seconds that so many calls take together.
        least: seconds that a block should last, so that reading the clock does not count.
    """

    name: str
    block: Callable[[Call, int], float]
    least: float


def stopwatch(device: torch.device | str = "cpu", clock: Clock | None = None) -> Stopwatch:
    """The right one for calls that compute on `device`.

    CUDA: events around the block, no synchronisation inside, one at the end. CPU at one thread: the CPU time of this
    thread, so that what other processes do does not count. Else: the wall.

    Args:
        device: where the calls compute.
        clock: seconds, read instead, with the device synchronised around the block.
    """
    device = torch.device(device)
    if device.type == "cpu":
        if clock is not None:
            return Stopwatch("given clock", _by_clock(clock), 0.004)
        if torch.get_num_threads() == 1:
            return Stopwatch("thread CPU time", _by_clock(time.thread_time), 0.004)
        return Stopwatch("wall time", _by_clock(time.perf_counter), 0.004)
    if device.type == "cuda" and clock is None:
        return Stopwatch("CUDA events", _by_events(device), 0.010)
    name = "wall time" if clock is None else "given clock"
    return Stopwatch(name, _by_clock(clock or time.perf_counter, synchronizer(device)), 0.010)


def synchronizer(device: torch.device | str) -> Callable[[], None]:
    """What waits until `device` has done all that it was asked to do; on the CPU nothing is left to wait for."""
    device = torch.device(device)
    if device.type == "cpu":
        return lambda: None
    if device.type == "mps":  # its module takes no device
        return torch.mps.synchronize
    module = torch.get_device_module(device)
    return lambda: module.synchronize(device)


def _by_clock(clock: Clock, synchronize: Callable[[], None] = lambda: None) -> Callable[[Call, int], float]:
    def block(call: Call, calls: int) -> float:
        synchronize()
        start = clock()
        for _ in repeat(None, calls):
            call()
        synchronize()
        return clock() - start

    return block


def _by_events(device: torch.device) -> Callable[[Call, int], float]:
    def block(call: Call, calls: int) -> float:
        with torch.cuda.device(device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize(device)  # else the launches would hide behind what an earlier block left to do
            start.record()
            for _ in repeat(None, calls):
                call()
            end.record()
            torch.cuda.synchronize(device)
            return float(start.elapsed_time(end)) / 1000

    return block


def warm_up(watch: Stopwatch, call: Call, least: float, most: float = math.inf) -> tuple[int, bool]:
    """Calls until two windows in a row agree to a tenth, or until one call alone has taken more than `most` seconds.

    Returns:
        The number of calls in a block of at least `least` seconds, and whether two windows ever agreed.
    """
    first = watch.block(call, 1)  # compiles, allocates, fills caches; where the next is like it, it did not
    if first > most:
        return 1, False
    calls, before = 1, first if first >= least else math.nan
    for _ in range(_WINDOWS):
        while (seconds := watch.block(call, calls)) < least and calls < MOST_CALLS:
            wanted = calls * least / seconds if seconds > 0 else math.inf
            # A tenth more than the least, at least twice and at most 16 times what was: a short block tells little.
            calls = int(min(max(wanted * 1.1, calls * 2), calls * 16, MOST_CALLS))
        each = seconds / calls
        if abs(each - before) <= _AGREEMENT * max(each, before):
            return calls, True
        before = each
    return calls, False
