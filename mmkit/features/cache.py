"""Features of frozen encoders on the disk: computed once, memory-mapped, and found again by what they were made of.

FOLDER/KEY/about.json     what they were made of; written last, so that an entry without it is unfinished
FOLDER/KEY/*.npy          packed tokens, offsets and summaries
FOLDER/KEY/parts/         of an unfinished one: the batches that are done, where a next process goes on
FOLDER/.locks/KEY/        who writes an entry; kept, or two processes might each lock a file of that name

Axes: N samples, R real tokens of all of them, D width.
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
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from mmkit.contract import Features
from mmkit.data.columns import Column
from mmkit.data.packed import Packed
from mmkit.errors import MmkitError, UsageError
from mmkit.system.files import owned, replacing, write_json
from mmkit.system.progress import SILENT, Progress

ABOUT = "about.json"
LOCKS = ".locks"
INSTEAD = "set MMKIT_CACHE to another folder"

Encode = Callable[[Sequence[Any], int], Features]
"""Values in memory, and the number of the first of them, to their features on the CPU."""
Part = dict[str, np.ndarray[Any, Any]]
"""`tokens` [R D], `lengths` [B] and, where there are summaries, `pooled` [B D] of one batch."""


class CacheWriteError(MmkitError):
    """Features cannot be written to the folder."""


def default_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where features are kept: MMKIT_CACHE, else `mmkit/features` in the user's folder for caches."""
    environ = os.environ if environ is None else environ
    if environ.get("MMKIT_CACHE"):
        return Path(environ["MMKIT_CACHE"])
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmkit" / "features"


@dataclass(frozen=True)
class Pass:
    """One pass of an encoder over the samples of a split, in batches.

    Args:
        encode: makes the features.
        values: of the split, in memory; None is a missing one.
        batch_size: samples that are encoded together.
        progress: told how many samples are done.
        what: is done, for `progress`: "features of image".
        about: what `mmkit cache list` shows besides and what decides nothing: the input, and the split.
    """

    encode: Encode
    values: Column
    batch_size: int = 64
    progress: Progress = SILENT
    what: str = "features"
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def starts(self) -> range:
        """The first sample of each batch."""
        return range(0, len(self.values), self.batch_size)

    @torch.no_grad()
    def part(self, start: int) -> Part:
        """The features of a batch, real tokens only."""
        features = self.encode(self.values[start : start + self.batch_size], start)
        found = {"tokens": features.tokens[features.mask].float().numpy(), "lengths": features.mask.sum(1).numpy()}
        if features.pooled is not None:
            found["pooled"] = features.pooled.float().numpy()
        self.progress.update(self.what, min(start + self.batch_size, len(self.values)), len(self.values))
        return found

    def in_memory(self) -> Packed:
        """The features of all samples, kept nowhere."""
        parts = [self.part(start) for start in self.starts]
        tokens, lengths = (torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in _EVERY)
        pooled = torch.from_numpy(np.concatenate([p["pooled"] for p in parts])) if "pooled" in parts[0] else None
        return Packed.of(tokens, torch.cat((lengths.new_zeros(1), lengths.cumsum(0))), pooled)


_EVERY = ("tokens", "lengths")


def encoded(work: Pass, folder: Path, key: str, made_of: Mapping[str, Any]) -> Packed:
    """The features of all values: found in the folder, else computed and kept there.

    A pass that was interrupted goes on with the batch where it stopped. Several processes may ask for the same: one
    computes, the others wait and read. What is damaged is computed anew.

    Args:
        work: what there is to do where they are not found.
        folder: of the cache.
        key: of these features: a hash over `made_of`.
        made_of: all that decides them; written down for `mmkit cache list`.

    Raises:
        CacheWriteError: the folder cannot be written to, or the disk is full; what was written so far is left there.
    """
    home = folder / key
    found = _found(home)
    if found is None:
        with contextlib.ExitStack() as stack:
            with _writing(folder):
                (folder / LOCKS / key).mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(owned(folder / LOCKS / key, wait=True, instead=INSTEAD))
            except UsageError as error:
                raise CacheWriteError(str(error)) from error
            found = _found(home)  # another process may have been quicker
            if found is None:
                _fill(home, work, made_of)
                found = _found(home)
    if found is None:
        raise CacheWriteError(f"features cannot be read back from {home}; {INSTEAD}")
    return found


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CacheWriteError(f"cannot keep features in {folder}: {reason}; make room there, or {INSTEAD}") from error


def _fill(home: Path, work: Pass, made_of: Mapping[str, Any]) -> None:
    parts = home / "parts"
    with _writing(home):
        parts.mkdir(parents=True, exist_ok=True)
        (home / ABOUT).unlink(missing_ok=True)  # of one that is damaged
    files = {start: parts / f"{start:09}-{work.batch_size}.npz" for start in work.starts}
    for start, file in files.items():
        if _read(file) is None:
            part = work.part(start)
            with _writing(home), _whole(file) as stream:
                np.savez(stream, allow_pickle=False, **part)
    with _writing(home):
        _pack(home, list(files.values()), {**work.about, "of": made_of})
        shutil.rmtree(parts)


def _read(file: Path) -> Part | None:
    """A batch that was done before, checksums included; None where it is not there, or torn."""
    try:
        with file.open("rb") as stream, np.load(stream) as content:
            return dict(content)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None


def _pack(home: Path, files: Sequence[Path], known: Mapping[str, Any]) -> None:
    """All batches one after the other into one file for each leaf, with no more than one of them in memory."""
    lengths, shapes = [], {}
    for file in files:
        with np.load(file) as part:
            lengths.append(part["lengths"])
            shapes = {name: part[name].shape[1:] for name in part.files if name != "lengths"}
    offsets = np.concatenate([[0], np.concatenate(lengths).cumsum()]).astype(np.int64)
    samples, tokens = len(offsets) - 1, int(offsets[-1])
    (home / "pooled.npy").unlink(missing_ok=True)
    with _whole(home / "offsets.npy") as stream:
        np.save(stream, offsets)
    for name, shape in shapes.items():
        rows = tokens if name == "tokens" else samples
        with _whole(home / f"{name}.npy") as stream:
            # Written, not mapped: where a disk is full, writing fails, and writing to a map ends the process.
            descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
            header = {"descr": descr, "fortran_order": False, "shape": (rows, *shape)}
            np.lib.format.write_array_header_1_0(stream, header)
            for file in files:
                with np.load(file) as part:
                    stream.write(np.ascontiguousarray(part[name], np.float32).data)
    about = {"samples": samples, "tokens": tokens, "width": shapes["tokens"][0], "pooled": "pooled" in shapes}
    write_json(home / ABOUT, {**about, "made": time.time(), **known}, indent=None)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A stream into a file that is there under its name only when all of it is on the disk."""
    with replacing(path) as (fresh,), fresh.open("wb") as stream:
        yield stream


def _found(home: Path) -> Packed | None:
    """An entry; None where it is not there, unfinished or damaged."""
    about = _about(home)
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


def _mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    # Copy on write: torch has no tensors that cannot be written to, and the file stays as it is.
    found = np.load(path, mmap_mode="c" if shape[0] else None)  # nothing cannot be mapped
    if found.shape != shape or found.dtype != (np.int64 if len(shape) == 1 else np.float32):
        raise ValueError(f"{path} holds {found.dtype} {found.shape}; expected {shape}")
    return torch.from_numpy(found)


def _about(home: Path) -> dict[str, Any] | None:
    try:
        about = json.loads((home / ABOUT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.keys() >= {"samples", "made", "of"} else None


@dataclass(frozen=True)
class Held:
    """One entry of a cache.

    Args:
        key: its name.
        size: bytes on the disk.
        made: when it was finished, or when an unfinished one was last written to; seconds since 1970.
        about: what `about.json` says; None of an unfinished one.
    """

    key: str
    size: int
    made: float
    about: Mapping[str, Any] | None


def held(folder: Path) -> list[Held]:
    """What a cache holds, the largest first; nothing where there is none. Whatever is not ours is not looked at."""
    found = []
    for home in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r"[0-9a-f]{16}", home.name) and home.is_dir():
            sizes = [status.st_size for path in home.rglob("*") if (status := _status(path)) and path.is_file()]
            about, status = _about(home), _status(home)
            made = about["made"] if about else status.st_mtime if status else 0.0
            found.append(Held(home.name, sum(sizes), made, about))
    return sorted(found, key=lambda one: one.size, reverse=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # another process has just removed it
        return None


def clear(folder: Path, keys: Sequence[str]) -> int:
    """Remove entries; gives the bytes that are free again.

    Raises:
        UsageError: another process is writing one of them.
    """
    chosen = [one for one in held(folder) if one.key in keys]
    for one in chosen:
        with owned(folder / LOCKS / one.key, instead="leave that entry"):
            (folder / one.key / ABOUT).unlink(missing_ok=True)  # first, so that half an entry is an unfinished one
            shutil.rmtree(folder / one.key)
    return sum(one.size for one in chosen)
