"""Files and bytes, opened by PyAV; its errors become errors that name the source."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mmkit.errors import DataError

Source = str | bytes
"""A path, or a whole file."""

MOST_PIXELS = 2**27
"""Of one frame: twice 16K. A file that says more is damaged or malicious."""


def source_of(raw: Any) -> Source | None:
    """A path or bytes as a source; None where it is neither.

    Raises:
        DataError: there is no such file, or there are no bytes.
    """
    if isinstance(raw, (str, Path)):
        if Path(raw) == Path():
            raise DataError("an empty path was given; give None where the video is missing")
        if not Path(raw).is_file():
            raise DataError(f"there is no video file at {raw}")
        if not Path(raw).stat().st_size:
            raise DataError(f"{raw} is a file of zero bytes; give None where the video is missing")
        return str(raw)
    if isinstance(raw, (bytes, bytearray, memoryview)):
        if not len(raw):
            raise DataError("a video of zero bytes was given; give None where the video is missing")
        return bytes(raw)
    return None


def name_of(source: Source) -> str:
    """How messages call a source."""
    return source if isinstance(source, str) else f"the {len(source)} bytes given as a video"


@contextmanager
def opened(source: Source) -> Iterator[InputContainer]:
    """The container of a source, closed afterwards.

    It is read as a stream of bytes: a playlist in it opens no other file and no address.

    Raises:
        DataError: whatever PyAV finds wrong with it, here or in the body of the `with`.
    """
    try:
        with (
            open(source, "rb") if isinstance(source, str) else io.BytesIO(source) as stream,  # noqa: PTH123
            av.open(stream, "r", metadata_errors="replace", io_open=_refuse) as container,
        ):
            yield container
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{name_of(source)} cannot be read: {reason}") from error


def _refuse(url: str, *_: object) -> NoReturn:
    raise PermissionError(f"it asks for another file: {url}")


def video_stream(container: InputContainer, source: Source) -> VideoStream:
    """The first video stream that is no cover picture, set to decode in this thread alone.

    Raises:
        DataError: there is none, or its frames are too large.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            stream.thread_count = 1
            pixels = stream.codec_context.width * stream.codec_context.height
            if pixels > MOST_PIXELS:
                size = f"{stream.codec_context.width} x {stream.codec_context.height}"
                raise DataError(f"{name_of(source)} has frames of {size}; at most {MOST_PIXELS:,} pixels are read")
            return stream
    kinds: list[str] = sorted({stream.type for stream in container.streams}) or ["nothing"]
    raise DataError(f"{name_of(source)} has no video stream; it holds {', '.join(kinds)}")
