"""Batches without a timer: while one is answered the next gathers, and a full queue says no at once.

One thread runs the model. What has come meanwhile is the next batch, so that one client waits for nobody, and many
share the cost of a call. Waiting for more (`Limits.wait`) gives some more under load, and one client waits for nothing.

Clipper: Crankshaw et al., "Clipper: A Low-Latency Online Prediction Serving System", NSDI 2017,
https://www.usenix.org/conference/nsdi17/technical-sessions/presentation/crankshaw, batches adaptively as well, to a
latency that is asked for; here the queue itself sets the size.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

from mmkit.serving.limits import FullError, Limits, RefusedError

_Q = TypeVar("_Q")
_log = logging.getLogger("mmkit.serving")


class _Waiting(NamedTuple, Generic[_Q]):
    question: _Q
    rows: int
    since: float
    answer: asyncio.Future[Any]


class Batcher(Generic[_Q]):
    """Gathers questions to batches, and answers them in one thread of its own.

    Args:
        answers: one answer, or the exception in its place, for each question; never called twice at once.
        limits: of a batch and of the queue.
        batched: told the rows of each batch.
    """

    def __init__(
        self,
        answers: Callable[[Sequence[_Q]], Sequence[Any]],
        limits: Limits,
        batched: Callable[[int], object],
    ) -> None:
        self.answers = answers
        self.limits = limits
        self.batched = batched
        self.since: float | None = None
        """When the batch that is being answered began, by the monotonic clock; None where none is."""
        self._waiting: deque[_Waiting[_Q]] = deque()
        self._rows = 0
        self._came = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "mmkit-model")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; inside a running event loop."""
        self._task = asyncio.create_task(self._work())

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._rows

    def ask(self, questions: Sequence[_Q], rows: Sequence[int]) -> list[asyncio.Future[Any]]:
        """The answers to come: all questions of a request are taken, or none. A cancelled one is left out.

        Args:
            questions: of a request.
            rows: that each takes of a batch.

        Raises:
            FullError: there is no room, or it is closing.
        """
        if self._closing or self._rows + sum(rows) > self.limits.room:
            raise FullError
        loop, now = asyncio.get_running_loop(), time.monotonic()
        futures = [loop.create_future() for _ in questions]
        for question, count, future in zip(questions, rows, futures, strict=True):
            self._waiting.append(_Waiting(question, count, now, future))
            self._rows += count
        self._came.set()
        return futures

    async def close(self) -> None:
        """Take no more, and return when those that wait are answered."""
        self._closing = True
        self._came.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while await self._some():
            batch = self._taken()
            if not batch:
                continue
            self.batched(sum(one.rows for one in batch))
            self.since = time.monotonic()
            found = await loop.run_in_executor(self._thread, self._answered, [one.question for one in batch])
            self.since = None
            for one, answer in zip(batch, found, strict=True):
                if one.answer.done():
                    continue  # whoever asked has left meanwhile
                if isinstance(answer, Exception):
                    one.answer.set_exception(answer)
                else:
                    one.answer.set_result(answer)

    async def _some(self) -> bool:
        """Wait until there is a batch; False where there will be none."""
        while True:
            self._came.clear()
            if not self._waiting:
                if self._closing:
                    return False
                await self._came.wait()
                continue
            left = self._waiting[0].since + self.limits.wait - time.monotonic()
            if left <= 0 or self._rows >= self.limits.most or self._closing:
                return True
            try:
                await asyncio.wait_for(self._came.wait(), left)
            except TimeoutError:
                return True

    def _taken(self) -> list[_Waiting[_Q]]:
        """The first of the queue that fit into a batch, one at least; without those whose client has left."""
        batch: list[_Waiting[_Q]] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= self.limits.most):
            one = self._waiting.popleft()
            self._rows -= one.rows
            if not one.answer.done():
                batch.append(one)
                rows += one.rows
        return batch

    def _answered(self, questions: Sequence[_Q]) -> Sequence[Any]:
        """The answers; where a batch fails as a whole, each question is tried alone, so that none spoils another."""
        try:
            return self.answers(questions)
        except Exception as error:  # noqa: BLE001 (the model's own fault: whoever asked is told, and it is logged)
            if len(questions) == 1:
                _log.exception("the model failed on a sample: %s", type(error).__name__)
                return [error]
        return [answer for question in questions for answer in self._answered([question])]


def refusal(error: BaseException) -> dict[str, object]:
    """What a client is told in the place of an answer: of a fault of the model no more than its kind."""
    if isinstance(error, RefusedError):
        return error.document()
    return {"error": {"input": None, "reason": f"the model failed on this sample ({type(error).__name__})"}}
