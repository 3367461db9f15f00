"""Hashes of content: of plain JSON values, and of values in memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b, file_digest, sha256
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import numpy as np
import torch
from torch import Tensor

from mmkit.system.files import utf8

_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def fingerprint(content: object) -> str:
    """A short hash over canonical JSON: the same content gives the same hash on every machine."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256(utf8(text)).hexdigest()[:16]


def digest(content: Any) -> str:
    """A hash of values in memory: tensors, arrays, pictures, texts, numbers, dates, None, and collections of them.

    Raises:
        TypeError: a value of another type, of which two different ones could have the same hash.
    """
    state = blake2b(digest_size=16)
    feed(state.update, content)
    return state.hexdigest()


def digest_of_files(path: Path) -> str:
    """A hash of the content of a file; of a folder, of all files in it and their names, but for hidden ones.

    A file that keeps its size and its time is read once by a process.

    Raises:
        OSError: one cannot be read.
    """
    inside = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    named = {str(one.relative_to(path)): one for one in inside}
    seen = {name: one for name, one in named.items() if not any(part.startswith(".") for part in Path(name).parts)}
    found = {name: (one, one.stat()) for name, one in seen.items()}
    return fingerprint({name: _of_file(one, at.st_size, at.st_mtime_ns) for name, (one, at) in found.items()})


@functools.cache
def _of_file(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 (of what changed there is another entry)
    with path.open("rb") as file:
        return file_digest(file, blake2b).hexdigest()


def mixed(values: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Each bit of a number spread over all 64 (splitmix64's finaliser); [N] uint64."""
    x = values.astype(np.uint64)
    x ^= x >> np.uint64(30)
    x *= _A
    x ^= x >> np.uint64(27)
    x *= _B
    x ^= x >> np.uint64(31)
    return x


def feed(update: Callable[[Any], None], content: Any) -> None:
    """Pass the bytes that a value is known by to `update`, piece by piece; those of two values differ.

    Raises:
        TypeError: as in `digest`.
    """
    if isinstance(content, Tensor):
        plain = content.detach().cpu().contiguous()
        update(f"tensor {plain.dtype} {list(plain.shape)}:".encode())
        update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    elif isinstance(content, np.ndarray | np.generic) and not content.dtype.hasobject:
        update(f"array {content.dtype} {content.shape}:".encode())
        update(np.ascontiguousarray(content).tobytes())
    elif isinstance(content, np.ndarray):
        update(f"objects {content.shape}:".encode())
        feed(update, content.ravel().tolist())
    elif isinstance(content, bytes | bytearray | memoryview):
        update(f"bytes {len(content)}:".encode())
        update(content)
    elif isinstance(content, Mapping):
        update(f"mapping {len(content)}:".encode())
        for name in sorted(content) if all(isinstance(name, str) for name in content) else sorted(content, key=digest):
            feed(update, name)
            feed(update, content[name])
    elif isinstance(content, Set):
        update(f"set {len(content)}:{' '.join(sorted(map(digest, content)))}".encode())
    elif isinstance(content, Sequence) and not isinstance(content, str):
        update(f"sequence {len(content)}:".encode())
        for part in content:
            feed(update, part)
    elif content is None or isinstance(content, _BY_TEXT) or type(content).__name__ in _GAPS:
        text = f"{type(content).__name__} {content!r}"
        update(utf8(f"{len(text)}:{text}"))
    else:
        feed(update, _of_others(content))


def _of_others(content: Any) -> Any:
    """What a value of another library is known by.

    Raises:
        TypeError: a value of another type.
    """
    if hasattr(content, "getpalette") and hasattr(content, "tobytes"):  # a picture of Pillow
        known = (content.mode, content.size, content.getpalette(), content.info.get("transparency"))
        return ("picture", *known, content.info.get("exif"), content.tobytes())
    if hasattr(content, "to_pylist"):  # of Arrow
        return content.to_pylist()
    if hasattr(content, "to_numpy"):  # a part of a table
        return list(map(str, getattr(content, "columns", ()))), np.asarray(content.to_numpy())
    raise TypeError(f"values of type {type(content).__name__} cannot be hashed by their content")


_BY_TEXT = (str, int, float, complex, bool, Decimal, Fraction, UUID, date, time, timedelta, PurePath)
"""Types whose `repr` says all that a value is."""
_GAPS = {"NAType", "NaTType"}
"""Types of the marks of nothing that pandas has."""
