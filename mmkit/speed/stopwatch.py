"""Stopwatches for each kind of device, and the warm-up of calls.

A block of calls is timed as a whole: one reading of the clock before it and one after, none between the calls.
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

MAX_CALLS = 1 << 16
"""The greatest number of calls in a block, so that a call that takes no time does not run forever."""
_WINDOWS = 12
_AGREEMENT = 0.1


@dataclass(frozen=True)
class Stopwatch:
    """Times blocks of calls.

    Args:
        name: of the clock, for the record.
        block: returns the seconds that a number of calls take together.
        min_block: the least duration of a block in seconds, for which reading the clock is negligible.
    """

    name: str
    block: Callable[[Call, int], float]
    min_block: float


def stopwatch(device: torch.device | str = "cpu", clock: Clock | None = None) -> Stopwatch:
    """The stopwatch for calls that compute on a device.

    CUDA: events around the block, with one synchronisation at its end. CPU with one thread: the CPU time of this
    thread, which other processes do not affect. Otherwise: wall time.

    Args:
        device: on which the calls compute.
        clock: returns seconds; used instead, with the device synchronised around the block.
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
    """A function that waits until a device has finished its work; on the CPU it does nothing."""
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
            torch.cuda.synchronize(device)  # earlier work would hide the time of the launches
            start.record()
            for _ in repeat(None, calls):
                call()
            end.record()
            torch.cuda.synchronize(device)
            return float(start.elapsed_time(end)) / 1000

    return block


def warm_up(watch: Stopwatch, call: Call, min_block: float, max_call: float = math.inf) -> tuple[int, bool]:
    """Call until two consecutive windows agree within 10 %, or until the first call took more than `max_call` seconds.

    Returns:
        The number of calls in a block of at least `min_block` seconds, and whether two windows agreed.
    """
    first = watch.block(call, 1)  # may compile, allocate and fill caches
    if first > max_call:
        return 1, False
    calls, before = 1, first if first >= min_block else math.nan
    for _ in range(_WINDOWS):
        while (seconds := watch.block(call, calls)) < min_block and calls < MAX_CALLS:
            needed = calls * min_block / seconds if seconds > 0 else math.inf
            # 10 % more than needed, but 2 to 16 times as many calls as before: a short block predicts poorly.
            calls = int(min(max(needed * 1.1, calls * 2), calls * 16, MAX_CALLS))
        each = seconds / calls
        if abs(each - before) <= _AGREEMENT * max(each, before):
            return calls, True
        before = each
    return calls, False
