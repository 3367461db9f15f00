"""One name for many files: `shard-{000..099}.tar`, `posts-*.csv`.

Standard library alone.
"""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterator
from pathlib import Path

from mmkit.errors import DataError

MOST = 100_000
"""Files that one name may stand for."""

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_pattern(data: str) -> bool:
    """Whether a name stands for many files: it has a range in braces, or signs of a glob."""
    return _RANGE.search(data) is not None or glob.has_magic(data)


def files_of(data: str) -> list[Path]:
    """The files that a pattern stands for, in order.

    >>> [path.name for path in _expanded("s-{08..10}.tar")]
    ['s-08.tar', 's-09.tar', 's-10.tar']

    Raises:
        DataError: there is none, or one of a range is not there.
    """
    files: list[Path] = []
    for path in _expanded(data):
        if glob.has_magic(str(path)):
            found = glob.glob(str(path))  # noqa: PTH207 (Path.glob takes no absolute pattern)
            files += sorted(Path(one) for one in found if Path(one).is_file())
        else:
            files.append(path)
    if not files:
        raise DataError(f"there is no file {data!r:.300}")
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(f"{data} stands for {len(files):,} files, of which {len(missing):,} are missing: {missing[0]}")
    return files


def _expanded(data: str) -> Iterator[Path]:
    counts = [abs(int(end) - int(start)) + 1 for start, end in _RANGE.findall(data)]
    if math.prod(counts) > MOST:
        raise DataError(f"{data} stands for {math.prod(counts):,} files; at most {MOST:,} are read")
    yield from map(Path, _names(data))


def _names(data: str) -> Iterator[str]:
    found = _RANGE.search(data)
    if found is None:
        yield data
        return
    first, last = found.groups()
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield from _names(f"{data[: found.start()]}{number:0{len(first)}}{data[found.end() :]}")
