"""What is being written to the cache: appended to one file a leaf, and made sure of piece by piece.

HOME/*.npy            lengths of the samples, tokens, ...: appended behind a header that is filled in last
HOME/progress.json    the pieces that are safe on the disk, each with its checksums; what lies behind does not count

A process that is killed loses what it wrote after the last piece. Whoever goes on reads the pieces once, to check them.

Axes: N samples, R real tokens of all samples, D width.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from mmkit.system.files import write_json

PROGRESS = "progress.json"
LENGTHS = "lengths.npy"
BYTES = 64 * 2**20
"""Bytes of a piece, after which it is made sure of."""
SECONDS = 10.0
"""Seconds after which a piece is made sure of even if it is smaller: encoders may be slow."""
HEADER = 128
"""Bytes of the header of a file, whatever the number of its rows."""

Part = dict[str, np.ndarray[Any, Any]]
"""What is appended of one batch: leaves of rows, the same in each part but for how many rows; `lengths` [B] is one.

Of features, the others are `tokens` [R D] and, if there are any, `pooled` [B D].
"""


class Pieces:
    """The files of an unfinished entry of the cache. A context manager: what was appended is safe when it ends.

    Args:
        home: the folder of the entry.
        batch_size: of the pass; pieces of another one are not gone on from, as their batches would differ.

    Raises:
        OSError: they cannot be written.
    """

    def __init__(self, home: Path, batch_size: int) -> None:
        self.home, self.batch_size = home, batch_size
        self.samples = 0
        self.note: dict[str, Any] = {}
        """What the writer wants to know again when it goes on; plain JSON values."""
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}  # of a row of each leaf
        self._streams: dict[str, BinaryIO] = {}
        self._rows: dict[str, int] = {}
        self._sums: dict[str, int] = {}
        self._pieces: list[dict[str, Any]] = []
        self._waiting = 0
        self._safe = time.monotonic()

    def __enter__(self) -> Pieces:
        try:
            known = json.loads((self.home / PROGRESS).read_text("utf-8"))
            same = known["batch_size"] == self.batch_size
            if same:
                self.note = known["note"]
                self._go_on(known["leaves"], known["pieces"])
        except (OSError, ValueError, KeyError, TypeError):
            self._pieces = []  # there are none, or they are damaged
        if not self._pieces:
            self._close()
            self.samples, self.note = 0, {}
            for file in self.home.glob("*.npy"):
                file.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # What ended the pass may be a full disk, which then is full for this, too.
            with contextlib.suppress(OSError):
                if self._waiting:
                    self._make_sure()
        finally:
            self._close()

    @property
    def leaves(self) -> list[str]:
        """What is written: lengths, and of features tokens, and pooled vectors if there are any."""
        return list(self._streams)

    def shape(self, leaf: str) -> tuple[int, ...]:
        """Of all that is written of a leaf."""
        return (self._rows[leaf], *self._kinds[leaf][1])

    def append(self, part: Part) -> None:
        """Write the features of the next batch.

        Raises:
            OSError: they cannot be written; the pieces before stay.
        """
        if not self._streams:
            for leaf, values in part.items():
                self._kinds[leaf] = (values.dtype, values.shape[1:])
                self._streams[leaf] = (self.home / f"{leaf}.npy").open("w+b", buffering=0)
                self._rows[leaf] = self._sums[leaf] = 0
                _write(self._streams[leaf], bytes(HEADER))
        plain = {leaf: np.ascontiguousarray(part[leaf]) for leaf in self._streams}
        for leaf, values in plain.items():
            _write(self._streams[leaf], values.data.cast("B") if values.size else b"")
        for leaf, values in plain.items():  # only now: a full disk may have left some leaves behind the others
            self._rows[leaf] += len(values)
            self._sums[leaf] = zlib.crc32(values.data.cast("B") if values.size else b"", self._sums[leaf])
            self._waiting += values.nbytes
        self.samples += len(part["lengths"])
        if self._waiting >= BYTES or time.monotonic() - self._safe >= SECONDS:
            self._make_sure()

    def finish(self) -> np.ndarray[Any, Any]:
        """Fill in the headers and make sure of all.

        Returns:
            The offsets [N + 1].
        """
        self._make_sure()
        for leaf, stream in self._streams.items():
            stream.seek(0)
            kind, shape = self._kinds[leaf]
            _write(stream, _header(kind, (self._rows[leaf], *shape)))
            os.fsync(stream.fileno())
        lengths = np.load(self.home / LENGTHS)
        return np.concatenate([[0], lengths.cumsum()]).astype(np.int64)

    def _make_sure(self) -> None:
        """Bring what was appended to the disk, and note it."""
        for stream in self._streams.values():
            os.fsync(stream.fileno())
        if self._waiting or not self._pieces:
            self._pieces.append({"samples": self.samples, "rows": dict(self._rows), "sums": dict(self._sums)})
        leaves = {leaf: [kind.str, list(shape)] for leaf, (kind, shape) in self._kinds.items()}
        document = {"batch_size": self.batch_size, "leaves": leaves, "note": self.note, "pieces": self._pieces}
        write_json(self.home / PROGRESS, document, indent=None)
        self._waiting, self._safe = 0, time.monotonic()
        self._sums = dict.fromkeys(self._sums, 0)

    def _go_on(self, leaves: Mapping[str, Any], pieces: list[Mapping[str, Any]]) -> None:
        """Open the files behind the last piece that is whole."""
        self._kinds = {leaf: (np.dtype(kind), tuple(shape)) for leaf, (kind, shape) in leaves.items()}
        for leaf in pieces[0]["rows"]:
            self._streams[leaf] = (self.home / f"{leaf}.npy").open("r+b", buffering=0)
            self._streams[leaf].seek(HEADER)
            self._rows[leaf] = 0
        for piece in pieces:
            ends = {leaf: piece["rows"][leaf] for leaf in self._streams}
            if any(self._sum(leaf, ends[leaf]) != piece["sums"][leaf] for leaf in self._streams):
                break  # damaged, and so is what follows
            self._rows, self.samples = ends, piece["samples"]
            self._pieces.append(dict(piece))
        for leaf, stream in self._streams.items():
            stream.seek(HEADER + self._rows[leaf] * self._bytes(leaf))
            stream.truncate()
        self._sums = dict.fromkeys(self._streams, 0)

    def _sum(self, leaf: str, end: int) -> int:
        """The checksum of the rows of a leaf from those that were checked to `end`."""
        left, found = (end - self._rows[leaf]) * self._bytes(leaf), 0
        while left > 0:
            block = self._streams[leaf].read(min(left, 2**20))
            if not block:
                return -1  # cut off
            found, left = zlib.crc32(block, found), left - len(block)
        return found

    def _bytes(self, leaf: str) -> int:
        kind, shape = self._kinds[leaf]
        return kind.itemsize * math.prod(shape)

    def _close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._streams = {}


def _write(stream: BinaryIO, data: bytes | memoryview) -> None:
    """All of it: a disk that is nearly full takes a part at first."""
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]


def _header(kind: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of format 1.0, which may end in spaces: always of `HEADER` bytes."""
    said = repr({"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape})
    length = (HEADER - 10).to_bytes(2, "little")
    return b"\x93NUMPY\x01\x00" + length + said.encode("ascii").ljust(HEADER - 11) + b"\n"
