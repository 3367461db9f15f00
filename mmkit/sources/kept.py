"""Large tables that were read once are kept in the cache as Arrow files, and mapped the next time.

FOLDER/KEY/table.arrow   Arrow's stream of the table, as it was read
FOLDER/KEY/about.json    of what it was made, and its size; written last, so an entry without it is unfinished

The key is the path; what the entry was made of is the size and the time of each file. A changed file is read anew, in
place of the old entry.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from mmkit.errors import UsageError
from mmkit.sources.formats import arrow_file
from mmkit.system.cache_folder import ABOUT, LOCKS, default_folder
from mmkit.system.files import owned, replacing, write_json
from mmkit.system.hashing import fingerprint

LARGE = 32 * 2**20
"""Bytes of files from which on they are kept."""
LAYOUT = 1
"""Of what is kept: another number makes old entries new ones."""

_TABLE = "table.arrow"
_ROOM = 4  # times the size of the files has to be free on the disk


def kept(
    name: str,
    files: Sequence[Path],
    read: Callable[[], Iterable[pa.Table]],
    *,
    fits: Callable[[], None],
    notes: Callable[[], list[str]] = list,
) -> tuple[pa.Table, list[str]]:
    """The table of files: mapped from the cache, or read in parts, written there and mapped.

    Where the cache cannot be written to, or the disk has no room for it, the table is in memory.

    Args:
        name: of the files together.
        files: that are read.
        read: the table in parts, all of one schema.
        fits: raises where the table is too large to be in memory.
        notes: what a user should know of how they were read; asked once they are.

    Returns:
        The table, and the notes.
    """
    size = sum(path.stat().st_size for path in files)
    if size < LARGE:
        fits()
        return pa.concat_tables(read()), notes()
    made_of = {
        "files": fingerprint([[str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]),
        "layout": LAYOUT,
        "pyarrow": pa.__version__,
    }
    folder = default_folder()
    key = fingerprint(["table", str(files[0].absolute()), len(files)])
    if (found := _found(folder / key, made_of)) is not None:
        return found
    try:
        with owned(_made(folder / LOCKS / key), wait=True):
            if (found := _found(folder / key, made_of)) is not None:  # another process has made it meanwhile
                return found
            if shutil.disk_usage(folder).free > _ROOM * size:
                _write(folder / key, name, read(), notes, made_of)
                found = _found(folder / key, made_of)
    except (OSError, UsageError):  # of the cache; what is wrong with the files is a DataError
        found = None
    if found is not None:
        return found
    fits()
    return pa.concat_tables(read()), notes()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _found(home: Path, made_of: dict[str, Any]) -> tuple[pa.Table, list[str]] | None:
    """The table of a finished entry that was made of the same; None where there is none, or it is damaged."""
    try:
        about = json.loads((home / ABOUT).read_text("utf-8"))
        if about["of"] != made_of or about["bytes"] != (home / _TABLE).stat().st_size:
            return None
        return arrow_file(home / _TABLE), [str(note) for note in about["notes"]]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _write(
    home: Path, name: str, parts: Iterable[pa.Table], notes: Callable[[], list[str]], made_of: dict[str, Any]
) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / ABOUT).unlink(missing_ok=True)
    with replacing(home / _TABLE) as (fresh,):
        rows = _stream(fresh, iter(parts))
    about = {"samples": rows, "made": time.time(), "bytes": (home / _TABLE).stat().st_size, "notes": notes()}
    write_json(home / ABOUT, {**about, "input": "table", "split": name, "of": made_of}, indent=None)


def _stream(path: Path, parts: Iterator[pa.Table]) -> int:
    """Write tables one after the other; how many rows they have."""
    first = next(parts)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as stream:
        stream.write_table(first)
        rows = len(first)
        for part in parts:
            stream.write_table(part)
            rows += len(part)
    return rows
