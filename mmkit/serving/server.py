"""The server: a socket of its own, uvicorn, and an end at which every request that was taken is answered."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from mmkit.errors import UsageError
from mmkit.serving.app import application
from mmkit.serving.guard import Guard, is_local
from mmkit.serving.service import Service

KEPT = 75
"""Seconds that an idle connection stays open: longer than those of usual proxies, which else meet a closed one."""
WAITING = 1024
"""Connections that wait to be accepted."""


@dataclass(frozen=True)
class Address:
    """Where a service listens, and who may ask.

    Args:
        host: name or address.
        port: 0 takes one that is free.
        token: that requests need; empty where none is.
        every: whether each request is logged.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    every: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"a port is 0 to 65535; got {self.port}")
        if not self.token and not is_local(self.host):
            raise UsageError(
                f"--host {self.host} lets other machines ask, so it needs a token: --token-file FILE; and TLS, which a "
                "proxy in front of it has"
            )

    def bound(self) -> socket.socket:
        """A socket at this address, which does not listen yet.

        Raises:
            UsageError: there is none to be had.
        """
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            # With the protocol: only where it says TCP does asyncio send small pieces at once, and not wait for the
            # client to acknowledge the last one, 40 ms in a connection that is kept.
            found = socket.socket(family, kind, protocol)
            try:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                found.bind(place)
            except BaseException:
                found.close()
                raise
        except OSError as error:
            told = error.strerror or str(error)
            raise UsageError(
                f"cannot listen on {self.host}, port {self.port}: {told}; give another --port, or 0 for a free one"
            ) from error
        return found


def url_of(place: socket.socket) -> str:
    """The address of a socket, for a browser."""
    host, port = place.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Server(uvicorn.Server):
    """A server that tells when it listens.

    Args:
        config: of uvicorn.
        told: called once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell it."""
        await super().startup(sockets)
        self._told()


def server_of(service: Service, address: Address, told: Callable[[], None] = lambda: None) -> Server:
    """A server that has not started yet.

    Args:
        service: the models.
        address: who may ask.
        told: called once connections are accepted.
    """
    guarded = Guard(application(service, reloads=bool(address.token)), address.token, address.host, every=address.every)
    config = uvicorn.Config(
        guarded,
        loop="asyncio",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=service.limits.body,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=WAITING,
        timeout_keep_alive=KEPT,
        timeout_graceful_shutdown=int(service.limits.seconds) + 5,
    )
    return Server(config, told)


def run(service: Service, address: Address, place: socket.socket, told: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what was taken, and return. A second Ctrl-C ends at once.

    Args:
        service: the models.
        address: who may ask.
        place: the socket to listen on, which the caller closes.
        told: called once connections are accepted.
    """
    _log_lines()
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal anew once it has ended by it
        server_of(service, address, told).run(sockets=[place])


def _log_lines() -> None:
    """One line each on stderr, with the time: ours, and what uvicorn warns of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("mmkit.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
