"""Items made ahead of time by threads, in order: decoded values, augmented batches.

Threads and not processes. What costs time here, decoding, resizing, Fourier transforms, is done by libraries that let
other threads run meanwhile; nothing is copied between processes or started anew, and nothing is left behind. On two
cores that others used as well, batches of 64 images (375x500 to 224, random crops) took 44 ms through one thread and
50 to 53 through one process of a DataLoader (fork), batches of 64 clips of 2 s (log-mel) 31 against 37. A thread uses
one core: sharing every small operation out over both took 415 ms a batch, and more.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import torch

from mmkit.system.machine import usable_cores

_T = TypeVar("_T")

TRIED = 3
"""Items that are made in place before it is known whether threads pay."""
PAYS = 1e-3
"""Seconds an item from which they do: handing one over takes a twentieth of a millisecond."""
MOST = 8
"""Threads, at most."""
AHEAD = 2
"""Items that are made ahead for each thread."""


class Loader:
    """Makes items in order, ahead of time where that pays; made by whomever, they are the same.

    A context, at whose end the threads are gone, whatever ended it.

    Args:
        workers: threads; 0 makes each item in place, when it is asked for. None finds out: the first few items are
            timed, and where they take long enough there is a thread for each core but one.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or 0
        self._fastest = float("inf") if workers is None else 0.0
        self._tried = 0 if workers is None else TRIED
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
            torch.set_num_threads(torch.get_num_threads())  # what threads that start later take over

    def __call__(self, make: Callable[[int], _T], count: int) -> Iterator[_T]:
        """`make(0)`, `make(1)`, ..., as many as `count`; what one raises is raised in its place."""
        start = 0
        while start < count and self._tried < TRIED:
            began = time.perf_counter()
            item = make(start)
            self._fastest = min(self._fastest, time.perf_counter() - began)
            self._tried += 1
            if self._tried == TRIED and self._fastest >= PAYS:
                self.workers = min(MOST, usable_cores() - 1)
            yield item
            start += 1
        if not self.workers:
            yield from map(make, range(start, count))
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self.workers, "mmkit-loader", initializer=torch.set_num_threads, initargs=(1,)
            )
        waiting: deque[Future[_T]] = deque()
        try:
            for index in range(start, count):
                waiting.append(self._pool.submit(make, index))
                if len(waiting) > AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
