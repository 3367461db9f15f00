"""What a split holds, known by its content: a fingerprint of each column, found without decoding anything.

Of a file it is the path, the size and the time of its last change, of bytes the bytes, of arrays the buffer, and of
texts, numbers and rows of tables the values themselves.

Axes: N samples of the split.
"""

from __future__ import annotations

import itertools
import marshal
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import uuid4
from zlib import crc32

import numpy as np
from torch import Tensor

from mmkit.contract import Samples
from mmkit.system.hashing import digest, feed

Rows = np.ndarray[Any, np.dtype[np.uint32]]

UNKNOWN = "unknown "
"""How the fingerprint begins of what cannot be known by its content; the rest is never the same again."""
TEXTS = ("text", "table")
"""Modalities whose strings are the values themselves; a string of another may name a file."""
_AT_ONCE = 4096
_PLAIN = {str, int, float, bool, complex, type(None)}
_CONTAINERS = {dict, list, tuple}


class Content(NamedTuple):
    """What a column holds.

    Args:
        fingerprint: a hash of all values, in order.
        rows: [N] a checksum of each value, to find what has changed; None where the column has its own fingerprint.
    """

    fingerprint: str
    rows: Rows | None


@dataclass(frozen=True)
class SplitContent:
    """What a split holds.

    Args:
        columns: the fingerprint of the ids, of the truth, and of each input.
        ids: of its samples.
        rows: [N] a checksum of inputs and truth of each sample.
        groups: labels by factor, where samples have groups.
        unknown: what cannot be known by its content, and why.
    """

    columns: dict[str, str]
    ids: Sequence[Any]
    rows: Rows
    groups: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def content_of_split(samples: Samples, kinds: Mapping[str, str]) -> SplitContent:
    """The content of a split, as the task gives it.

    Args:
        samples: raw, read by position.
        kinds: the modality of each input, by input; columns of other names are not looked at.
    """
    named = {"ids": (samples.ids, False), "truth": (samples.truth, False)}
    named |= {
        f"input {name}": (samples.inputs[name], kind not in TEXTS)
        for name, kind in kinds.items()
        if name in samples.inputs
    }
    columns, unknown = {}, []
    rows = np.zeros(len(samples), np.uint32)
    for name, (column, files) in named.items():
        try:
            found = content_of(column, files=files)
        except TypeError as error:
            columns[name] = UNKNOWN + uuid4().hex[:16]
            unknown.append(f"{name}: {error}")
            continue
        columns[name] = found.fingerprint
        if found.rows is not None and name != "ids" and len(found.rows) == len(rows):
            rows = rows * np.uint32(16_777_619) ^ found.rows  # the order of columns counts
    return SplitContent(columns, samples.ids, rows, samples.factors, tuple(unknown))


def content_of(column: Any, *, files: bool = False) -> Content:
    """The content of a column. One that has a `fingerprint` of its own, as a lazy one may, is known by that.

    >>> content_of(["a cat", None]).fingerprint == content_of(["a cat", "a dog"]).fingerprint
    False

    Args:
        column: raw values, by position.
        files: whether a string may name a file; a `pathlib.Path` always does.

    Raises:
        TypeError: a value of a type that cannot be known by its content.
    """
    own = getattr(column, "fingerprint", None)
    if isinstance(own, str):
        return Content(digest([type(column).__qualname__, own]), None)
    state = blake2b(digest_size=16)
    state.update(f"column {len(column)}:".encode())
    if isinstance(column, Tensor | np.ndarray):
        array = column.detach().cpu().numpy() if isinstance(column, Tensor) and column.dtype.itemsize > 2 else column
        if isinstance(array, np.ndarray) and not array.dtype.hasobject and len(array):
            feed(state.update, array)
            flat = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
            return Content(state.hexdigest(), np.fromiter((crc32(row.data) for row in flat), np.uint32, len(array)))
    checksums: list[int] = []
    for start in range(0, len(column), _AT_ONCE):
        values = _part(column, start)
        if any((files and kind is str) or issubclass(kind, PurePath) for kind in set(map(type, values))):
            values = [_of_file(one, files=files) for one in values]
        if _plain(values):
            # In version 2 of the format equal values are equal bytes; later ones note which are the same object.
            parts = list(map(marshal.dumps, values, itertools.repeat(2)))
            checksums += map(crc32, parts)
            state.update(b"plain:" + b"".join(parts))
        else:
            checksums += _fed(state, values)
    return Content(state.hexdigest(), np.array(checksums, np.uint32))


def _part(column: Any, start: int) -> list[Any]:
    stop = min(start + _AT_ONCE, len(column))
    if isinstance(column, list | tuple | np.ndarray):
        return list(column[start:stop])
    return [column[i] for i in range(start, stop)]  # one that is lazy is read value by value


def _plain(values: Iterable[Any]) -> bool:
    """Whether all values are of exactly the types that have one form in bytes, those within collections too."""
    values = values if isinstance(values, list) else list(values)
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return True
    if not kinds <= _PLAIN | _CONTAINERS:
        return False
    mappings = values if kinds == {dict} else [one for one in values if type(one) is dict]
    others = [one for one in values if type(one) in {list, tuple}]
    return (
        _plain(set(itertools.chain.from_iterable(mappings)))
        and _plain(itertools.chain.from_iterable(map(dict.values, mappings)))
        and _plain(itertools.chain.from_iterable(others))
    )


def _fed(state: Any, values: Sequence[Any]) -> Iterator[int]:
    """Feed values one by one; the checksum of each."""
    for value in values:
        checksum = 0

        def both(part: Any) -> None:
            nonlocal checksum
            state.update(part)
            checksum = crc32(part, checksum)

        feed(both, value)
        yield checksum


def _of_file(value: Any, *, files: bool) -> Any:
    """What a file is known by; any other value as it is."""
    if not (isinstance(value, PurePath) or (files and type(value) is str)):
        return value
    path = str(value)
    try:
        status = os.stat(path)  # noqa: PTH116 (of strings, hundreds of thousands of them)
    except (OSError, ValueError):
        return ("no file", path)
    if not stat.S_ISDIR(status.st_mode):
        return ("file", path, status.st_size, status.st_mtime_ns)
    inside = sorted((one.path, one.stat().st_size, one.stat().st_mtime_ns) for one in _files_in(path))
    return ("folder", path, *inside)


def _files_in(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_in(entry.path)
            else:
                yield entry
