"""The application: what is at which address.

POST /predict                the answers of the first model
POST /models/NAME/predict    those of another
WS   /stream                 answers of the first model to what goes on; /models/NAME/stream those of another
GET  /models                 what each asks and answers
POST /-/reload               load the folders anew that have changed; needs the token
GET  /                       the page; /openapi.json, /healthz, /readyz, /metrics
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources

from fastapi import FastAPI, Request, Response, WebSocket
from starlette.exceptions import HTTPException

from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.serving.exchange import Exchange
from mmkit.serving.metrics import CONTENT_TYPE
from mmkit.serving.openapi import document_of
from mmkit.serving.replies import answered, failed
from mmkit.serving.service import Service
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
