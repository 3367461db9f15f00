"""`mmkit serve`: saved models in service over HTTP, with a page."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkit.cli.process import prepare
from mmkit.cli.saved_model import Device, Threads, folder_of, load
from mmkit.cli.setting import catalog
from mmkit.errors import UnavailableError
from mmkit.serving.limits import Limits
from mmkit.system.files import at_home
from mmkit.system.sizes import bytes_in
from mmkit.system.times import seconds_in

NEEDED = ("fastapi", "uvicorn", "httptools", "python_multipart", "prometheus_client", "websockets")
"""What the extra brings."""


def serve(
    ctx: typer.Context,
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="Folders of saved or exported models, or hub:OWNER/NAME; the first answers /predict.",
        ),
    ],
    host: Annotated[
        str, typer.Option(metavar="NAME", help="Address to listen on; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token that requests then need.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Samples that the model takes at once.")] = 32,
    max_wait: Annotated[
        float, typer.Option(metavar="MS", help="Milliseconds that a sample waits for others; 0 takes what is there.")
    ] = 0.0,
    room: Annotated[int, typer.Option(help="Samples that may wait; beyond them 503.")] = 256,
    max_body: Annotated[str, typer.Option(metavar="SIZE", help="Size of a request; beyond it 413.")] = "16MiB",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Time of a request; beyond it 504.")] = "10s",
    streams: Annotated[int, typer.Option(help="Streams that are open at once; beyond them 503.")] = 64,
    deadline: Annotated[
        str, typer.Option(metavar="TIME", help="Time from a chunk of a stream to its answer; beyond it late.")
    ] = "1s",
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log every request, not only refused ones.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Serve saved models over HTTP, with a page to try them; Ctrl-C ends.

    POST /predict takes samples as JSON or as a form, /openapi.json says how; ?explain=true says what each input gave.
    What has come while a batch was answered is the next one. A WebSocket at /stream takes sound, series and video in
    chunks, and answers by a window of the last of them.
    """  # fmt: skip
    _check_installed()
    server, service_of, guard = (
        importlib.import_module(f"mmkit.serving.{one}") for one in ("server", "service", "guard")
    )
    limits = Limits(
        max_batch,
        max_wait / 1000,
        room,
        bytes_in(max_body, "--max-body"),
        seconds_in(timeout, "--timeout"),
        streams,
        seconds_in(deadline, "--deadline"),
    )
    token = "" if token_file is None else guard.token_in(at_home(token_file))
    address = server.Address(host, port, token, log_requests)
    prepare(threads)
    folders = service_of.names_of([at_home(folder_of(one)) for one in models])
    with address.bound() as place:
        installed = catalog(ctx)
        service = service_of.Service(folders, lambda folder: load(folder, installed, device), installed, limits)
        for name, loaded in service.loaded.items():
            print(f"mmkit: {_told(name, loaded)}", file=sys.stderr)
        server.run(service, address, place, partial(_tell_address, server.url_of(place)))
    print(f"mmkit: ended; requests answered: {service.answered:,}", file=sys.stderr)


def _tell_address(url: str) -> None:
    print(f"mmkit: serving on {url}; Ctrl-C ends", file=sys.stderr)
    print(f"mmkit: it is a page; how programs ask: {url}openapi.json", file=sys.stderr)


def _told(name: str, loaded: Any) -> str:
    """A model in service, in a line."""
    schema = loaded.schema
    kinds = Counter(one.modality for one in schema.inputs)
    inputs = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
    target = f"{schema.target} ({len(schema.names)})" if schema.names else schema.target
    return f"{name}: {inputs} -> {target}; digest {loaded.digest[:12]}"


def _check_installed() -> None:
    """Nothing, where all that a service needs is installed.

    Raises:
        UnavailableError: something is not.
    """
    for module in NEEDED:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnavailableError(
                f"serve needs {module}, which is not installed: pip install 'mmkit-core[serve]'"
            ) from error
