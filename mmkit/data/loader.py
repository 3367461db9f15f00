"""Prefetching by threads, in order: decoded values, augmented batches.

Threads and not processes: decoding, resizing and Fourier transforms are done by libraries that release the GIL, and
nothing is copied between processes, restarted, or left behind. On two shared cores, batches of 64 images (375x500 to
224, random crops) took 44 ms with one thread and 50 to 53 ms with one process of a DataLoader (fork), batches of 64
clips of 2 s (log-mel) 31 ms and 37 ms. Each thread uses one core: splitting every small operation over both cores took
415 ms per batch, and more.
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

TIMED_ITEMS = 3
"""How many items are made without threads, and timed, to decide whether threads are worthwhile."""
WORTHWHILE_SECONDS = 1e-3
"""Seconds per item from which threads are worthwhile; handing an item over takes 0.05 ms."""
MAX_THREADS = 8
"""The greatest number of threads."""
AHEAD = 2
"""How many items are prefetched per thread."""


class Loader:
    """Prefetches items in order; results do not depend on the number of threads.

    A context manager; when it ends, also by an error, the threads have ended.

    Args:
        workers: number of threads; 0 makes each item when it is needed. None times the first items, and uses a thread
            for each core but one if they are slow enough.
        ahead: how many items are prefetched per thread.
    """

    def __init__(self, workers: int | None = None, ahead: int = AHEAD) -> None:
        self.workers = workers or 0
        self._ahead = ahead
        self._fastest = float("inf") if workers is None else 0.0
        self._timed = 0 if workers is None else TIMED_ITEMS
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
            torch.set_num_threads(torch.get_num_threads())  # later threads inherit it

    def __call__(self, make: Callable[[int], _T], count: int) -> Iterator[_T]:
        """Yield `make(0)`, ..., `make(count - 1)`. An error of an item is raised when it is its turn."""
        start = 0
        while start < count and self._timed < TIMED_ITEMS:
            began = time.perf_counter()
            item = make(start)
            self._fastest = min(self._fastest, time.perf_counter() - began)
            self._timed += 1
            if self._timed == TIMED_ITEMS and self._fastest >= WORTHWHILE_SECONDS:
                self.workers = min(MAX_THREADS, usable_cores() - 1)
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
                if len(waiting) > self._ahead * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
