"""The feature cache: features of frozen encoders on disk, memory-mapped, with a key over all that determines them.

FOLDER/KEY/about.json     what determines the features; written last, so an entry without it is unfinished
FOLDER/KEY/*.npy          packed tokens, offsets and pooled vectors; the numbers of the rows of the table
FOLDER/KEY/progress.json  how far an unfinished entry is written, from which the next process continues: `pieces.py`
FOLDER/.locks/KEY/        lock of an entry; never removed, because two processes could then lock two files of that name

Axes: N samples, R real tokens of all samples, D width.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmkit.contract import Features
from mmkit.data.columns import Column
from mmkit.data.decoded import Origin
from mmkit.data.packed import Packed
from mmkit.errors import MmkitError, UsageError
from mmkit.features.known_rows import Encoded, KnownRows
from mmkit.features.pieces import LENGTHS, PROGRESS, Part, Pieces
from mmkit.system.cache_folder import ABOUT, INSTEAD, LOCKS
from mmkit.system.files import owned, replacing, write_json
from mmkit.system.progress import SILENT, Progress

Made = TypeVar("Made")

ROWS = "rows.npy"
"""The numbers of the samples in the table that they are of, where they are of one."""

Encode = Callable[[Sequence[Any], int], Features]
"""From decoded values, and the index of the first of them, to their features on the CPU."""


class CacheWriteError(MmkitError):
    """Features cannot be written to the cache."""


@dataclass(frozen=True)
class Pass:
    """One pass of an encoder over the samples of a split, in batches.

    Args:
        encode: computes the features of a batch.
        values: decoded values of the split; None is a missing one.
        batch_size: samples per batch.
        progress: receives the number of encoded samples.
        what: name of the pass, for `progress`: "features of image".
        about: information for `mmkit cache list` that does not determine the features: the input, and the split.
        origin: the table that the values are of, where they are of one.
        known: gives the features of rows that were encoded in another split of the same table; asked when it begins.
    """

    encode: Encode
    values: Column
    batch_size: int = 64
    progress: Progress = SILENT
    what: str = "features"
    about: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None
    known: Callable[[], KnownRows | None] = lambda: None

    @property
    def starts(self) -> range:
        """The index of the first sample of each batch."""
        return range(0, len(self.values), self.batch_size)

    @torch.no_grad()
    def part(self, start: int) -> Part:
        """The features of a batch, without padding."""
        return self._part(self.values[start : start + self.batch_size], start)

    def of(self, places: Sequence[int]) -> Part:
        """The features of the samples at some places, without padding."""
        return self._part(self.values.take(places), places[0])

    def parts(self, first: int = 0) -> Iterator[Part]:
        """The features of the batches from that of sample `first` on, in order."""
        parts = map(self.part, self.starts[-(-first // self.batch_size) :])
        known, done = self.known(), first
        for part in parts if known is None else known.parts(first, self.of):
            done += len(part["lengths"])
            self.progress.update(self.what, done, len(self.values))
            yield part

    @torch.no_grad()
    def _part(self, values: Sequence[Any], start: int) -> Part:
        features = self.encode(values, start)
        part = {"tokens": features.tokens[features.mask].float().numpy(), "lengths": features.mask.sum(1).numpy()}
        if features.pooled is not None:
            part["pooled"] = features.pooled.float().numpy()
        return part

    def in_memory(self) -> Packed:
        """The features of all samples, without the cache."""
        parts = list(self.parts())
        tokens, lengths = (torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in _EVERY)
        pooled = torch.from_numpy(np.concatenate([p["pooled"] for p in parts])) if "pooled" in parts[0] else None
        return Packed.of(tokens, torch.cat((lengths.new_zeros(1), lengths.cumsum(0))), pooled)


_EVERY = ("tokens", "lengths")


def encoded(work: Pass, folder: Path, key: str, made_of: Mapping[str, Any]) -> Packed:
    """The features of all values: read from the cache, or computed and written to it.

    An interrupted pass continues where it stopped, a killed one where it was last made sure of: after 64 MiB or 10 s.
    If several processes need the same features, one computes them, and the others wait and read. Damaged entries are
    computed again.

    Args:
        work: computes the features.
        folder: of the cache.
        key: a hash over `made_of`.
        made_of: all that determines the features; recorded for `mmkit cache list`.

    Raises:
        CacheWriteError: the folder cannot be written to, or the disk is full; what is written stays there.
    """
    home = folder / key
    return made_once(folder, key, lambda: _read_entry(home), lambda: _write_entry(home, work, made_of))


def made_once(folder: Path, key: str, read: Callable[[], Made | None], write: Callable[[], None]) -> Made:
    """What an entry holds, read or else written first. If several processes need it, one writes, the others wait.

    Args:
        folder: of the cache.
        key: of the entry.
        read: gives what a whole entry holds, else None.
        write: writes it.

    Raises:
        CacheWriteError: the folder cannot be written to, or the disk is full; what is written stays there.
    """
    made = read()
    if made is None:
        with contextlib.ExitStack() as stack:
            with writing(folder):
                (folder / LOCKS / key).mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(owned(folder / LOCKS / key, wait=True, instead=INSTEAD))
            except UsageError as error:
                raise CacheWriteError(str(error)) from error
            made = read()  # another process may have written it meanwhile
            if made is None:
                write()
                made = read()
    if made is None:
        raise CacheWriteError(f"features cannot be read back from {folder / key}; {INSTEAD}")
    return made


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the system says of the disk into an error of ours.

    Raises:
        CacheWriteError: the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CacheWriteError(f"cannot write features to {folder}: {reason}; make room there, or {INSTEAD}") from error


@contextlib.contextmanager
def opened(home: Path, batch_size: int) -> Iterator[Pieces]:
    """The pieces of an unfinished entry; what was appended is safe when the block ends, even by an error."""
    with contextlib.ExitStack() as stack:
        with writing(home):
            pieces = stack.enter_context(Pieces(home, batch_size))
        yield pieces


def _write_entry(home: Path, work: Pass, made_of: Mapping[str, Any]) -> None:
    """Encode all values that are not written yet, and write them; each is written once."""
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        (home / ABOUT).unlink(missing_ok=True)  # of a damaged entry
    with opened(home, work.batch_size) as pieces:
        for part in work.parts(pieces.samples):
            with writing(home):
                pieces.append(part)
        with writing(home):
            offsets = pieces.finish()
            with _atomic(home / "offsets.npy") as stream:
                np.save(stream, offsets)
            tokens, width = pieces.shape("tokens")
            about: dict[str, Any] = {"samples": pieces.samples, "tokens": tokens, "width": width}
            about |= {"pooled": "pooled" in pieces.leaves, "made": time.time(), **work.about, "of": made_of}
            if work.origin is not None:
                with _atomic(home / ROWS) as stream:
                    np.save(stream, work.origin.rows)
                about["table"] = work.origin.table
            write_json(home / ABOUT, about, indent=None)
    with writing(home):
        for name in (PROGRESS, LENGTHS):
            (home / name).unlink()


@contextlib.contextmanager
def _atomic(path: Path) -> Iterator[BinaryIO]:
    """A stream that replaces the file when the block ends without an error."""
    with replacing(path) as (fresh,), fresh.open("wb") as stream:
        yield stream


def _read_entry(home: Path) -> Packed | None:
    """The features of an entry; None if it is missing, unfinished or damaged."""
    about = about_entry(home)
    if about is None:
        return None
    try:
        shapes = {"tokens": (about["tokens"], about["width"]), "offsets": (about["samples"] + 1,)}
        if about["pooled"]:
            shapes["pooled"] = (about["samples"], about["width"])
        leaves = {name: _mapped(home / f"{name}.npy", shape) for name, shape in shapes.items()}
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    offsets = leaves["offsets"]
    if offsets[0] != 0 or offsets[-1] != about["tokens"] or bool((offsets.diff() < 0).any()):
        return None
    return Packed.of(leaves["tokens"], offsets, leaves.get("pooled"))


def encoded_rows(folder: Path, made_of: Mapping[str, Any], table: str) -> Iterator[Encoded]:
    """The features of other splits of a table, which differ in nothing but the samples.

    Args:
        folder: of the cache.
        made_of: all that determines the features; the values may be others.
        table: what the table is known by.
    """
    for home in sorted(folder.iterdir()) if folder.is_dir() else ():
        about = about_entry(home)
        if about is None or about.get("table") != table or {**about["of"], "values": ""} != {**made_of, "values": ""}:
            continue
        packed = _read_entry(home)
        with contextlib.suppress(OSError, ValueError, EOFError):
            rows = np.load(home / ROWS)
            if packed is not None and rows.shape == (about["samples"],):
                yield Encoded(packed, rows)


def _mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    # Copy on write, because torch has no read-only tensors; the file does not change.
    array = np.load(path, mmap_mode="c" if shape[0] else None)  # an empty array cannot be mapped
    if array.shape != shape or array.dtype != (np.int64 if len(shape) == 1 else np.float32):
        raise ValueError(f"{path} holds {array.dtype} {array.shape}; expected {shape}")
    return torch.from_numpy(array)


def about_entry(home: Path) -> dict[str, Any] | None:
    """What a whole entry says of itself; None if it is missing, unfinished or damaged."""
    try:
        about = json.loads((home / ABOUT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.keys() >= {"samples", "made", "of"} else None


@dataclass(frozen=True)
class CacheEntry:
    """One entry of the cache.

    Args:
        key: name of its folder.
        size: bytes on disk.
        made: when it was finished, or last written to if unfinished; seconds since 1970.
        about: the content of `about.json`; None if unfinished.
    """

    key: str
    size: int
    made: float
    about: Mapping[str, Any] | None


def cache_entries(folder: Path) -> list[CacheEntry]:
    """The entries of a cache, the largest first. Files and folders that are no entries are ignored."""
    entries = []
    for home in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r"[0-9a-f]{16}", home.name) and home.is_dir():
            sizes = [status.st_size for path in home.rglob("*") if (status := _status(path)) and path.is_file()]
            about, status = about_entry(home), _status(home)
            made = about["made"] if about else status.st_mtime if status else 0.0
            entries.append(CacheEntry(home.name, sum(sizes), made, about))
    return sorted(entries, key=lambda entry: entry.size, reverse=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # another process has removed it meanwhile
        return None


def clear(folder: Path, keys: Sequence[str]) -> int:
    """Remove entries.

    Returns:
        The number of bytes that were freed.

    Raises:
        UsageError: another process is writing one of them.
    """
    chosen = [entry for entry in cache_entries(folder) if entry.key in keys]
    for entry in chosen:
        with owned(folder / LOCKS / entry.key, instead="leave that entry"):
            (folder / entry.key / ABOUT).unlink(missing_ok=True)  # first: what is left is then an unfinished entry
            shutil.rmtree(folder / entry.key)
    return sum(entry.size for entry in chosen)
