"""Messages between the process of the user and its workers: the length in 8 bytes, then so many bytes."""

from __future__ import annotations

import struct
from typing import BinaryIO

LENGTH = struct.Struct("!Q")
READY = b"ready"
"""What a worker says first."""


def send(stream: BinaryIO, message: bytes) -> None:
    """Send a message.

    Raises:
        OSError: the other process has ended.
    """
    stream.write(LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: BinaryIO) -> bytes | None:
    """The next message; None where the other process has ended."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None
