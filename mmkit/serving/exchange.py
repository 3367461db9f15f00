"""How a request becomes an answer: its body is taken, its samples are asked for, and whatever comes has a status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from mmkit.serving.answering import Question
from mmkit.serving.batching import refusal
from mmkit.serving.limits import FullError, RefusedError
from mmkit.serving.parsing import UnreadableError, aside, questions_of
from mmkit.serving.replies import answered, failed
from mmkit.serving.service import Served, Service

LEFT = 499
"""The status of a request whose client left before its answer; nobody gets it."""
_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


class Exchange:
    """Takes requests, asks models, and gives answers.

    Args:
        service: the models, and their limits.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._held = 0
        """Bytes of the bodies that are in memory."""

    async def predict(self, request: Request, served: Served) -> Response:
        """The answer to a request; whatever comes, it has a status and is counted, a fault of ours as 500."""
        began, metrics, status = time.perf_counter(), self.service.metrics, 500
        try:
            response = await self._response(request, served, began)
            status = response.status_code
        finally:
            metrics.requests.labels(served.name, str(status)).inc()
            metrics.duration.labels(served.name).observe(time.perf_counter() - began)
        self.service.answered += status == 200
        return response

    async def _response(self, request: Request, served: Served, began: float) -> Response:
        """The answer to a request, or why there is none."""
        try:
            return await self._asked(request, served, began)
        except UnreadableError as error:
            return failed(error.status, error.reason)
        except FullError:
            why = "the service is ending" if self.service.ending else "too many samples wait already"
            return failed(503, f"{why}; try again", {"retry-after": "1"})
        except ClientDisconnect:
            return Response(status_code=LEFT)

    async def _asked(self, request: Request, served: Served, began: float) -> Response:
        limits = self.service.limits
        explain = _explain(request.query_params)
        length = _length(request.headers.get("content-length", ""))
        self._check_room(length, length)
        try:
            body = await asyncio.wait_for(self._body(request), limits.seconds)
        except TimeoutError:
            return failed(408, f"the body did not arrive within {limits.seconds:g} s", {"connection": "close"})
        try:
            questions = await self._questions(body, request.headers, served, explain=explain)
            if sum(one.rows for one in questions if isinstance(one, Question)) > limits.room:
                raise UnreadableError(422, f"a request takes at most {limits.room} rows; send its samples in several")
            left = limits.seconds - (time.perf_counter() - began)
            return await self._answers(request, served, questions, left)
        finally:
            self._held -= len(body)

    async def _body(self, request: Request) -> bytes:
        """The whole body; its bytes count as held from then on.

        Raises:
            UnreadableError: it is too large.
            FullError: too much is held already.
            ClientDisconnect: the client left.
        """
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                self._check_room(size, len(part))
                self._held += len(part)
                parts.append(part)
        except BaseException:
            self._held -= sum(map(len, parts))
            raise
        return b"".join(parts)

    def _check_room(self, size: int, more: int) -> None:
        """Check that more of a body may be taken.

        Args:
            size: bytes of the body then.
            more: of these, those that are not held yet.

        Raises:
            UnreadableError: it is too large.
            FullError: too much is held already.
        """
        limits = self.service.limits
        if size > limits.body:
            raise UnreadableError(413, f"a body has at most {limits.body:,} bytes")
        if self._held + more > limits.held:
            raise FullError

    async def _questions(
        self, body: bytes, headers: Mapping[str, str], served: Served, *, explain: bool
    ) -> list[Question | RefusedError]:
        """The questions of a body, for the model that is in service then; while a large one is read nobody waits.

        Raises:
            UnreadableError: it cannot be read, or the model cannot explain.
        """
        while True:
            loaded = served.loaded
            if explain and not loaded.schema.explains:
                raise UnreadableError(422, "this model has no probability and no number that could be explained")
            read = partial(questions_of, body, headers, loaded.schema, self.service.limits, explain=explain)
            questions = await aside(read, len(body))
            if served.loaded is loaded:
                return questions

    async def _answers(
        self, request: Request, served: Served, questions: Sequence[Question | RefusedError], seconds: float
    ) -> Response:
        """The answers of the model.

        Raises:
            FullError: there is no room.
            ClientDisconnect: the client left meanwhile.
        """
        # From `_questions` to `ask` nothing is awaited, so that the batcher is that of the schema.
        loaded, asked = served.loaded, [one for one in questions if isinstance(one, Question)]
        futures = served.batcher.ask(asked, [one.rows for one in asked])
        if futures:
            together = asyncio.gather(*futures, return_exceptions=True)
            gone = asyncio.create_task(_gone(request))
            try:
                await asyncio.wait((together, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if not together.done():
                    together.cancel()
                    if gone.done():
                        raise ClientDisconnect
                    return failed(504, f"there was no answer within {self.service.limits.seconds:g} s")
            finally:
                gone.cancel()
        found = iter([future.exception() or future.result() for future in futures])
        outcomes = [next(found) if isinstance(one, Question) else one for one in questions]
        answers = [refusal(one) if isinstance(one, Exception) else one for one in outcomes]
        counts = self.service.metrics.samples
        for one in outcomes:
            outcome = (
                "refused" if isinstance(one, RefusedError) else "failed" if isinstance(one, Exception) else "answered"
            )
            counts.labels(served.name, outcome).inc()
        status = 200
        if all(isinstance(one, Exception) for one in outcomes):
            status = 422 if all(isinstance(one, RefusedError) for one in outcomes) else 500
        return answered({"model": served.name, "digest": loaded.digest, "answers": answers}, status)


def _length(given: str) -> int:
    return int(given) if given.isdecimal() and given.isascii() and len(given) < 20 else 0


def _explain(given: Mapping[str, str]) -> bool:
    """Whether `?explain=true` is asked for.

    Raises:
        UnreadableError: something else is.
    """
    if others := given.keys() - {"explain"}:
        raise UnreadableError(422, f"there is no option {min(others)[:80]!r}; possible: explain=true")
    flag = given.get("explain", "false").lower()
    if flag not in _FLAGS:
        raise UnreadableError(422, f"explain is true or false; got {flag[:80]!r}")
    return _FLAGS[flag]


async def _gone(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
