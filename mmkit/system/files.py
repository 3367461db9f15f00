"""Atomic writes of files, and locks that let one process at a time write to a folder."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from mmkit.errors import UsageError


def utf8(text: str) -> bytes:
    """The text in UTF-8; a lone surrogate, which a file name may hold, is written as its escape."""
    return text.encode("utf-8", "backslashreplace")


def at_home(path: Path | str) -> Path:
    """The path, `~` at its beginning being the user's home folder, as in a shell.

    Raises:
        UsageError: there is no home folder of that user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: there is no such home folder; write ./{path} for a folder of that name") from error


def meant(path: Path) -> str:
    """The end of a message about what is not there: what has nearly that name beside it; empty without."""
    with contextlib.suppress(OSError, ValueError):
        # By their stems: an extension that they share would make any two names alike.
        stems = {one.stem: one.name for one in sorted(path.parent.iterdir(), key=lambda one: one.suffix == path.suffix)}
        close = difflib.get_close_matches(path.stem, stems, n=1)
        return f"; did you mean {path.with_name(stems[close[0]])}?" if close else ""
    return ""


@contextlib.contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Replace the contents of files: written beside them, flushed to the disk, then renamed in the order given.

    Yields a path to write to for each file. If the block raises, no file has changed and nothing is left behind.
    """
    fresh = tuple(path.with_name(f".{path.name}.fresh") for path in paths)
    try:
        yield fresh
        for file in fresh:
            with file.open("r+b") as stream:
                os.fsync(stream.fileno())
        for file, path in zip(fresh, paths, strict=True):
            file.replace(path)
    finally:
        for file in fresh:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def write_json(path: Path, document: object, *, indent: int | None = 1) -> None:
    """Write a JSON document atomically.

    Raises:
        OSError: it cannot be written.
        ValueError: the document holds NaN or infinity.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, f"{text}\n")


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 atomically.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as (fresh,):
        fresh.write_bytes(utf8(text))


@contextlib.contextmanager
def owned(folder: Path, *, wait: bool = False, instead: str = "choose another folder with --out") -> Iterator[None]:
    """Lock a folder against other processes while this one writes to it. The folder is created if needed.

    Args:
        folder: to write to.
        wait: wait for a process that holds the lock; otherwise that is an error.
        instead: what the user can do about it, for the message.

    Raises:
        UsageError: another process holds the lock, or the folder cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; {instead}") from error
    with lock:
        try:
            import fcntl  # noqa: PLC0415 (Windows has none; the folder is not locked there)
        except ImportError:
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another process is writing to {folder}; wait for it, or {instead}") from error
        yield
