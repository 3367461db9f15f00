"""Streams: a WebSocket on which what goes on comes in chunks, and answers go out, each of a window of the last of it.

The client begins, then sends chunks; every message is JSON:

    {"start": {"windows": {input: length, ...}, "inputs": {input: value, ...}}}   the others are given once
    {"chunk": {input: value, ...}}                                               as in a sample; null empties a window

The service answers the start, then chunks, by their numbers from 1. **The newest wins**: while a window is answered, of
the chunks that come only the last one is answered next, by a window that holds them all. An answer that took longer
than the deadline says that it is late.

    {"ready": {"model": name, "digest": ..., "windows": {input: {"length": 1.0, "unit": "seconds"}}}}
    {"chunk": 7, "answer": {...}, "seconds": 0.012, "late": false, "skipped": 0, "full": {input: true}}
    {"chunk": 8, "error": {"input": "heard", "reason": ...}}

A chunk that cannot be read changes nothing: the windows stay as they are, and so does the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from mmkit.serving.answering import Question
from mmkit.serving.batching import refusal
from mmkit.serving.limits import FullError, RefusedError
from mmkit.serving.messages import only, parsed, read_once
from mmkit.serving.parsing import aside, question_of
from mmkit.serving.replies import failed, text_of
from mmkit.serving.service import Loaded, Served, Service
from mmkit.serving.windows import Window, unit_of, windows_of

IDLE = 60.0
"""Seconds without a message after which a stream is ended."""
ENDED, IDLED = 1012, 1008
"""Codes of a stream that the service ends: it has to begin anew, and nothing came."""


class EndedError(Exception):
    """The service ends a stream.

    Args:
        code: of WebSocket.
        reason: why.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class Streams:
    """The streams of a service.

    Args:
        service: the models, and their limits.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.held = 0
        """Bytes of all windows."""
        self._open = 0

    async def serve(self, socket: WebSocket, served: Served) -> None:
        """One stream, from its request to its end."""
        limits = self.service.limits
        if not served.loaded.streamed:
            reason = (
                "this model reads nothing that has a course in time, as sound, series and video have: POST /predict"
            )
            await socket.send_denial_response(failed(422, reason))
            return
        if self.service.ending or self._open >= limits.streams:
            why = "the service is ending" if self.service.ending else f"there are {limits.streams} streams already"
            await socket.send_denial_response(failed(503, f"{why}; try again", {"retry-after": "1"}))
            return
        counted = self.service.metrics.streams.labels(served.name)
        self._open += 1
        counted.inc()
        try:
            await socket.accept()
            await Stream(self, socket, served).run()
        except EndedError as error:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(error.code, error.reason)
        except WebSocketDisconnect:
            pass  # it has left, as anybody may
        finally:
            self._open -= 1
            counted.dec()


class Stream:
    """One stream.

    Args:
        streams: of the service.
        socket: that was accepted.
        served: the model that is asked.
    """

    def __init__(self, streams: Streams, socket: WebSocket, served: Served) -> None:
        self.streams = streams
        self.socket = socket
        self.served = served
        self.limits = streams.service.limits
        self.metrics = streams.service.metrics
        self.windows: dict[str, Window] = {}
        self.fixed: dict[str, Any] = {}
        self.kinds = _kinds(served.loaded)
        self._number = 0
        self._newest: tuple[int, float] = (0, 0.0)
        """The last chunk that came into the windows, and when."""
        self._unanswered = 0
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Begin, listen and answer, until one of both ends.

        Raises:
            EndedError: the service ends it.
            WebSocketDisconnect: the client has left.
        """
        await self._begin()
        both = [asyncio.create_task(self._listen()), asyncio.create_task(self._answer())]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self.streams.held -= sum(one.size for one in self.windows.values())

    async def _begin(self) -> None:
        """Wait for a start that can be read, and say that it was."""
        while True:
            try:
                await self._take_start(only(await self._parsed(await self._received()), "start"))
            except RefusedError as error:
                await self._send(error.document())
                continue
            lengths = {name: {"length": one.most, "unit": unit_of(one.modality)} for name, one in self.windows.items()}
            about = {"model": self.served.name, "digest": self.served.loaded.digest, "windows": lengths}
            await self._send({"ready": {**about, "deadline": self.limits.deadline}})
            return

    async def _take_start(self, given: Any) -> None:
        """Make the windows, and read what is given once.

        Raises:
            RefusedError: it cannot be read.
        """
        if not isinstance(given, dict) or not given.keys() <= {"windows", "inputs"}:
            raise RefusedError("", 'a start is {"windows": {input: length}, "inputs": {input: value}}')
        loaded = self.served.loaded
        self.windows = windows_of(given.get("windows"), loaded.streamed, loaded.model.inputs)
        self.fixed = await self._once(given.get("inputs") or {})

    async def _once(self, given: Any) -> dict[str, Any]:
        """The inputs that are given once, in memory; those that are read cell by cell as their cells.

        Raises:
            RefusedError: one cannot be read, or is streamed.
        """
        loaded = self.served.loaded
        question = question_of(given, loaded.schema, explain=False)
        if isinstance(question, RefusedError):
            raise question
        for name in question.values:
            if name in self.windows:
                raise RefusedError(name, "it has a window, so it comes in chunks")
        return await asyncio.to_thread(read_once, loaded, question)

    async def _listen(self) -> None:
        """Take chunks."""
        while True:
            text = await self._received()
            came = time.perf_counter()
            self._number += 1
            try:
                await self._take(only(await self._parsed(text), "chunk"), len(text), came)
            except RefusedError as error:
                self._count("refused")
                await self._send({"chunk": self._number, **error.document()})

    async def _take(self, given: Any, size: int, came: float) -> None:
        """Add a chunk to the windows, or change nothing.

        Args:
            given: the chunk, as JSON has it.
            size: of its message.
            came: when its message was there.

        Raises:
            RefusedError: it cannot be read, or there is no room for it.
            EndedError: the model was exchanged for one that reads something else.
        """
        question = await aside(partial(question_of, given, self._same().schema, explain=False), size)
        if isinstance(question, RefusedError):
            raise question
        for name in given:
            if name not in self.windows:
                raise RefusedError(name, f"it has no window in this stream; those that have: {', '.join(self.windows)}")
        if not given:
            raise RefusedError("", f"the chunk is empty; it has a value for one or more of {', '.join(self.windows)}")
        decoded = {}
        for name, raw in question.values.items():
            decoded[name] = await asyncio.to_thread(self.windows[name].decoded, raw)
        if self.streams.held + sum(size for _, _, size in decoded.values()) > self.limits.held:
            raise RefusedError("", "the windows of all streams hold too much already; take shorter ones")
        before = sum(one.size for one in self.windows.values())
        for name in given:
            if name in decoded:
                self.windows[name].add(decoded[name])
            else:
                self.windows[name].empty()
        self.streams.held += sum(one.size for one in self.windows.values()) - before
        self._newest = (self._number, came)
        self._unanswered += 1
        self._came.set()

    async def _answer(self) -> None:
        """Answer the newest window, again and again.

        Raises:
            EndedError: the model was exchanged for one that reads something else.
        """
        while True:
            await self._came.wait()
            self._came.clear()
            (number, came), skipped = self._newest, self._unanswered - 1
            self._unanswered = 0
            parts = {name: one.parts() for name, one in self.windows.items()}
            full = {name: one.full for name, one in self.windows.items()}
            found = await self._found(parts)
            seconds = time.perf_counter() - came
            late = seconds > self.limits.deadline
            outcome = found.pop("outcome")
            self._count("late" if late and outcome == "answered" else outcome)
            self._count("skipped", skipped)
            self.metrics.stream_seconds.labels(self.served.name).observe(seconds)
            told = {"seconds": round(seconds, 6), "late": late, "skipped": skipped, "full": full}
            await self._send({"chunk": number, **found, **told})

    async def _found(self, parts: dict[str, list[Any]]) -> dict[str, Any]:
        """The answer to the windows, or why there is none; and the outcome."""
        try:
            joined = await asyncio.to_thread(
                lambda: {name: self.windows[name].joined(part) for name, part in parts.items()}
            )
            given = {name: value for name, value in joined.items() if value is not None}
            digest, answer = self._asked({**self.fixed, **given})
            found = await asyncio.wait_for(answer, self.limits.seconds)
        except FullError:
            return {"error": {"input": None, "reason": "too many samples wait already"}, "outcome": "failed"}
        except TimeoutError:
            reason = f"there was no answer within {self.limits.seconds:g} s"
            return {"error": {"input": None, "reason": reason}, "outcome": "failed"}
        except EndedError:
            raise
        except Exception as error:  # noqa: BLE001 (the model's own fault, which the batcher logs)
            return {**refusal(error), "outcome": "refused" if isinstance(error, RefusedError) else "failed"}
        return {"answer": found, "digest": digest, "outcome": "answered"}

    def _asked(self, values: dict[str, Any]) -> tuple[str, asyncio.Future[Any]]:
        """The digest of the model that is asked, and its answer to come.

        Raises:
            EndedError: the model was exchanged for one that reads something else.
            FullError: there is no room.
        """
        loaded = self._same()
        (answer,) = self.served.batcher.ask([Question(values)], [1])
        return loaded.digest, answer

    def _same(self) -> Loaded:
        """The model as it is now.

        Raises:
            EndedError: it was exchanged for one that reads something else.
        """
        if _kinds(self.served.loaded) != self.kinds:
            raise EndedError(ENDED, "the model was exchanged for one with other inputs; begin anew")
        return self.served.loaded

    async def _parsed(self, text: str | bytes) -> Any:
        """The value of a message.

        Raises:
            RefusedError: it is no JSON.
        """
        return await aside(partial(parsed, text), len(text))

    async def _received(self) -> str | bytes:
        """The next message.

        Raises:
            WebSocketDisconnect: the client has left, or sent too large a message.
            EndedError: nothing has come for too long.
        """
        try:
            message = await asyncio.wait_for(self.socket.receive(), IDLE)
        except TimeoutError as error:
            raise EndedError(IDLED, f"nothing came for {IDLE:g} s") from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(int(message.get("code", 1005)))
        text = message.get("text")
        found: str | bytes = text if text is not None else message["bytes"]
        return found

    async def _send(self, document: dict[str, Any]) -> None:
        try:
            await self.socket.send_text(text_of(document))
        except RuntimeError as error:  # it was closed meanwhile
            raise WebSocketDisconnect(1006) from error

    def _count(self, outcome: str, many: int = 1) -> None:
        self.metrics.chunks.labels(self.served.name, outcome).inc(many)


def _kinds(loaded: Loaded) -> list[tuple[str, str]]:
    return [(one.name, one.modality) for one in loaded.schema.inputs]
