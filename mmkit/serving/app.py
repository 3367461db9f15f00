"""The application: addresses, and how a request becomes an answer.

POST /predict                the answers of the first model
POST /models/NAME/predict    those of another
WS   /stream                 answers of the first model to what goes on; /models/NAME/stream those of another
GET  /models                 what each asks and answers
POST /-/reload               load the folders anew that have changed; needs the token
GET  /                       the page; /openapi.json, /healthz, /readyz, /metrics
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources

from fastapi import FastAPI, Request, Response, WebSocket
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.serving.answering import Question
from mmkit.serving.batching import refusal
from mmkit.serving.limits import FullError, RefusedError
from mmkit.serving.metrics import CONTENT_TYPE
from mmkit.serving.openapi import document_of
from mmkit.serving.parsing import UnreadableError, questions_of
from mmkit.serving.replies import answered, failed
from mmkit.serving.service import Served, Service
from mmkit.serving.streams import Streams

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Of the page, by address."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser lets the page do: nothing elsewhere."""
LEFT = 499
"""The status of a request whose client left before its answer; nobody gets it."""
_FLAGS = {"true": True, "1": True, "": True, "false": False, "0": False}


def application(service: Service, *, reloads: bool) -> FastAPI:
    """The application of a service.

    Args:
        service: the models.
        reloads: whether `/-/reload` may be asked, which somebody with the token does.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = FastAPI(title="mmkit", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]  # it is called with that one alone
    app.add_exception_handler(Exception, _unexpected)
    exchange = Exchange(service)

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return await exchange.predict(request, service.first)

    @app.post("/models/{name}/predict")
    async def predict_by(request: Request, name: str) -> Response:
        if name not in service.models:
            return failed(404, f"there is no model of this name; {one_of(service.models, name[:80])}")
        return await exchange.predict(request, service.models[name])

    streams = Streams(service)

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await streams.serve(socket, service.first)

    @app.websocket("/models/{name}/stream")
    async def stream_by(socket: WebSocket, name: str) -> None:
        if name not in service.models:
            reason = f"there is no model of this name; {one_of(service.models, name[:80])}"
            await socket.send_denial_response(failed(404, reason))
            return
        await streams.serve(socket, service.models[name])

    @app.get("/models")
    async def models() -> Response:
        return answered({"models": [one.document() for one in service.models.values()]})

    @app.post("/-/reload")
    async def reload() -> Response:
        if not reloads:
            return failed(403, "models are reloaded by token alone: start the service with --token-file")
        try:
            return answered({"models": await service.reload()})
        except MmkitError as error:
            reason = f"{error}; what was in service goes on"
            return failed(409, str(error) if isinstance(error, UsageError) else reason)

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return answered(document_of(service.models))

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> Response:
        return answered({"status": "alive"})

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> Response:
        if service.ending:
            return failed(503, "the service is ending")
        if name := service.stuck:
            return failed(503, f"a batch of model {name} takes longer than {service.limits.seconds:g} s")
        return answered({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    for address, (name, kind) in FILES.items():
        app.get(address)(_file(name, kind))
    return app


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
        """The answer to a request; whatever comes, it has a status and is counted."""
        began, metrics = time.perf_counter(), self.service.metrics
        try:
            response = await self._response(request, served, began)
        except UnreadableError as error:
            response = failed(error.status, error.reason)
        except FullError:
            why = "the service is ending" if self.service.ending else "too many samples wait already"
            response = failed(503, f"{why}; try again", {"retry-after": "1"})
        except ClientDisconnect:
            response = Response(status_code=LEFT)
        metrics.requests.labels(served.name, str(response.status_code)).inc()
        metrics.duration.labels(served.name).observe(time.perf_counter() - began)
        self.service.answered += response.status_code == 200
        return response

    async def _response(self, request: Request, served: Served, began: float) -> Response:
        limits = self.service.limits
        explain = _explain(request.query_params)
        length = _length(request.headers.get("content-length", ""))
        self._check_room(length, length)
        try:
            body = await asyncio.wait_for(self._body(request), limits.seconds)
        except TimeoutError:
            return failed(408, f"the body did not arrive within {limits.seconds:g} s", {"connection": "close"})
        try:
            if explain and not served.loaded.schema.explains:
                raise UnreadableError(422, "this model has no probability and no number that could be explained")
            questions = questions_of(body, request.headers, served.loaded.schema, limits, explain=explain)
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

    async def _answers(
        self, request: Request, served: Served, questions: Sequence[Question | RefusedError], seconds: float
    ) -> Response:
        """The answers of the model.

        Raises:
            FullError: there is no room.
            ClientDisconnect: the client left meanwhile.
        """
        # From here to `ask` nothing is awaited, so that the batcher is that of the schema.
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


def _file(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    content = (resources.files("mmkit.serving") / "page" / name).read_bytes()
    headers = {
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
    }

    async def file() -> Response:
        return Response(content, 200, headers, kind)

    return file


async def _http(_request: Request, error: HTTPException) -> Response:
    """What the application itself refuses: an unknown address, another method."""
    reasons = {404: "there is nothing at this address", 405: "this address does not take this method"}
    return failed(error.status_code, reasons.get(error.status_code, str(error.detail)), error.headers)


async def _unexpected(_request: Request, error: Exception) -> Response:
    """A fault of ours, which the server logs with its traceback."""
    return failed(500, f"unexpected {type(error).__name__}")
