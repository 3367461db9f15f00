"""Forms (multipart/form-data, RFC 7578) from bytes in memory to parts in memory: no file is made of one."""

from __future__ import annotations

from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header


class Part(NamedTuple):
    """A part of a form.

    Args:
        name: of the field.
        content: whole.
        file: whether it came as a file, with a name of its own, which is not read.
    """

    name: str
    content: bytes
    file: bool


class NoFormError(Exception):
    """These bytes are no form; the message says why."""


class _Parts:
    """Collects parts as the parser meets them."""

    def __init__(self, most: int) -> None:
        self.found: list[Part] = []
        self.ended = False
        self._most = most
        self._field = self._value = b""
        self._disposition = b""
        self._content = bytearray()

    def part_begin(self) -> None:
        if len(self.found) >= self._most:
            raise NoFormError(f"it has more than {self._most} parts")
        self._disposition, self._content = b"", bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def part_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise NoFormError("a part has no name")
        name = options[b"name"].decode("utf-8", "replace")
        self.found.append(Part(name, bytes(self._content), b"filename" in options))

    def end(self) -> None:
        self.ended = True


def parts_of(body: bytes, kind: str, most: int) -> list[Part]:
    """The parts of a form, in order.

    Args:
        body: whole.
        kind: the header Content-Type, which names the boundary between parts.
        most: parts that it may have.

    Raises:
        NoFormError: it is none, or is cut off.
    """
    _, options = parse_options_header(kind)
    if not options.get(b"boundary"):
        raise NoFormError("its Content-Type names no boundary")
    parts = _Parts(most)
    names = ("part_begin", "header_field", "header_value", "header_end", "part_data", "part_end", "end")
    try:
        parser = MultipartParser(options[b"boundary"], {f"on_{name}": getattr(parts, name) for name in names})  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise NoFormError(str(error)) from error
    if not parts.ended:
        raise NoFormError("it is cut off: its last boundary is missing")
    return parts.found
