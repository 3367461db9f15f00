"""What one run found, as one JSON line; and the file that keeps such lines."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, UsageError

SCHEMA = 1
Record = dict[str, Any]


def fingerprint(content: object) -> str:
    """A short hash over canonical JSON: the same content gives the same hash, everywhere."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(_bytes(text)).hexdigest()[:16]


class Records:
    """The records of a suite: a file of JSON lines, appended when a run ends, never edited.

    A torn last line, of a process that was killed while it wrote, is dropped when the file is opened. Of two lines with
    one id the later wins.

    Args:
        path: the file; it need not exist.

    Raises:
        UsageError: the folder cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                file.seek(0)
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror}; choose another folder with --out") from error

    def read(self) -> dict[str, Record]:
        """The records by id, in the order of their first lines.

        Raises:
            DataError: a line is no record.
        """
        found: dict[str, Record] = {}
        for number, line in enumerate(self.path.read_bytes().splitlines(), start=1):
            try:
                record = json.loads(line)
                found[record["id"]] = record
                schema = record["schema"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.path}, line {number} is no record ({error}); remove it, or choose another --out"
                ) from error
            if schema != SCHEMA:
                raise DataError(f"{self.path}, line {number} has schema {schema}; this version of mmkit reads {SCHEMA}")
        return found

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line and see it on the disk."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(_bytes(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _bytes(text: str) -> bytes:
    """JSON in UTF-8; the half of a character, as file names may hold, is written as its escape."""
    return text.encode("utf-8", "backslashreplace")


@contextlib.contextmanager
def owned(folder: Path, *, wait: bool = False, instead: str = "choose another folder with --out") -> Iterator[None]:
    """Keep another process out of the folder, which need not exist, while this one writes to it.

    Args:
        folder: that is written to.
        wait: until another process is done with it; else that is an error.
        instead: what the user can do then.

    Raises:
        UsageError: another process has it, or it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; {instead}") from error
    with lock:
        try:
            import fcntl  # noqa: PLC0415 (not on Windows, where the folder stays unguarded)
        except ImportError:
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another process is writing to {folder}; wait for it, or {instead}") from error
        yield
