"""What stands before every request: who may ask, and what is logged of it."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmkit.errors import UsageError

OPEN = frozenset({"/", "/page.js", "/page.css", "/icon.svg", "/healthz", "/readyz"})
"""What needs no token: the empty page, which asks for one, and whether the service is alive."""
SHORTEST = 16
"""Characters of a token."""
_log = logging.getLogger("mmkit.serving")


class Guard:
    """Lets requests pass that have the token, and logs one line of each that is not answered, or of all.

    It is plain ASGI: events of the server's own start and end pass as they come.

    Args:
        app: what answers.
        token: that a request needs; empty where none is.
        host: the address that is listened to.
        every: whether requests that are answered are logged as well.
    """

    def __init__(self, app: ASGIApp, token: str = "", host: str = "127.0.0.1", *, every: bool = False) -> None:
        self.app = app
        self.token = token.encode()
        self.host = host
        self.every = every

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or an event of the server."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "websocket.accept":
                status = 101
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = int(message["status"])
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            await send(message)

        headers = dict(scope["headers"])
        try:
            if refused := self._refused(scope["path"], headers) or _strange(scope, headers):
                await _answer(told, *refused, kind=scope["type"])
            else:
                await self.app(scope, receive, told)
        finally:
            if self.every or status >= 400:
                self._tell(scope, status, time.perf_counter() - began)

    def _refused(self, path: str, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        """The status and the reason, where a request may not pass."""
        if self.token:
            given = headers.get(b"authorization", b"")
            kind, _, token = given.partition(b" ")
            if path in OPEN or (kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self.token)):
                return None
            return 401, "this needs the service's token: a header Authorization: Bearer TOKEN"
        # A page of a stranger can make the name of its own machine stand for this one, and then read what is served
        # here; its requests have that name in them.
        if is_local(self.host) and not is_local(_host(headers.get(b"host", b""))):
            return (
                421,
                "without a token only this machine's own names are served: localhost, 127.0.0.1; see --token-file",
            )
        return None

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"][:80].encode("ascii", "backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")
        path = "".join(one if one.isprintable() else "?" for one in path)
        _log.log(
            logging.INFO if status < 500 else logging.WARNING,
            "%s %s %s %.1f ms",
            scope.get("method", "STREAM")[:10],
            path,
            status or "left",
            1000 * seconds,
        )


def _strange(scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
    """The status and the reason, where a page of another site asks for a stream: browsers let every page do that."""
    origin = headers.get(b"origin", b"")
    if scope["type"] != "websocket" or not origin:
        return None
    if origin.partition(b"://")[2].lower() == headers.get(b"host", b"").strip().lower():
        return None
    return 403, "a stream is opened by no page but one of this service itself"


async def _answer(send: Send, status: int, reason: str, *, kind: str = "http") -> None:
    body = json.dumps({"error": {"reason": reason}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    begins = "http" if kind == "http" else "websocket.http"
    await send({"type": f"{begins}.response.start", "status": status, "headers": headers})
    await send({"type": f"{begins}.response.body", "body": body})


def _host(given: bytes) -> str:
    """The name in a header `Host`, without its port."""
    text = given.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def is_local(host: str) -> bool:
    """Whether a name or an address stands for this machine alone.

    >>> is_local("localhost"), is_local("127.0.0.1"), is_local("::1"), is_local("0.0.0.0"), is_local("example.org")
    (True, True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_in(file: Path) -> str:
    """The token that a file holds, in its first line.

    Raises:
        UsageError: it cannot be read, or holds no token.
    """
    advice = f"write one, as by: python -c 'import secrets; print(secrets.token_urlsafe())' > {file}"
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"--token-file {file} cannot be read: {error}; {advice}") from error
    token = lines[0].strip() if lines else ""
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"--token-file {file}: a token is {SHORTEST} or more letters, digits and signs in one line; {advice}"
        )
    return token
