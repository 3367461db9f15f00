"""Any source of a user's own data, read: a file, a folder, or a table in memory.

Arrow files and what `datasets` saved are mapped, and cost no memory; all else is read into memory, up to half of it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkit.errors import DataError, UsageError
from mmkit.sources.folders import read_folder
from mmkit.sources.formats import ARROW, EXTENSIONS, extension, read_file, unique
from mmkit.sources.memory import PREFIX, Column, held

__all__ = ["Column", "Source", "read", "stamp"]


@dataclass(frozen=True)
class Source:
    """A table as it was read.

    Args:
        name: the path that was given, or "the table" for one in memory.
        columns: by name, all of one length: Arrow's, or lists of Python objects.
        folder: where the relative names of files in its cells begin.
        made: columns that are made of names of folders: `label`, the class of a file, and `split`.
    """

    name: str
    columns: dict[str, Column]
    folder: Path
    made: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())))


def read(
    data: str,
    media: Mapping[str, Sequence[str]],
    *,
    files: str | None = None,
    outside: bool = False,
    labelled: bool = True,
) -> Source:
    """Read a source.

    Args:
        data: a path, or the name of a table in memory.
        media: the extensions of files of each modality, by modality.
        files: where the relative names of files begin; None is the folder of the table.
        outside: True where what lies outside of that folder may be read.
        labelled: False where images, sounds and videos of a folder need no sub-folder that is their class.

    Raises:
        UsageError: no data was named, or `files` is no folder.
        DataError: it is not there, cannot be read, is empty, or is too large for this machine.
    """
    if not data:
        raise UsageError("which data? Give --data PATH, or data= in Python")
    if files is not None and not _is(Path(files), Path.is_dir):
        raise UsageError(f"--files takes a folder; there is none at {files}")
    if data.startswith(PREFIX):
        return _checked(Source("the table", held(data), Path(files or ".")))
    path = Path(data)
    made: frozenset[str] = frozenset()
    if _is(path, Path.is_dir):
        _fits(path)
        (table, made), folder = read_folder(path, media, outside=outside, labelled=labelled), path
    elif not _is(path, Path.exists):
        raise DataError(f"there is no file or folder {data!r:.300}{_meant(path)}")
    else:
        if extension(path) not in EXTENSIONS:
            raise DataError(f"{data} is no table that can be read; expected a folder, or {', '.join(EXTENSIONS)}")
        _fits(path)
        table, folder = read_file(path), path.parent
    unique(table.column_names, data)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return _checked(Source(data, columns, Path(files) if files is not None else folder, made))


def stamp(data: str) -> tuple[object, ...]:
    """What changes when a source does: sizes and times of its files; of a table in memory its name says all.

    Nothing is opened.
    """
    path = Path(data)
    if data.startswith(PREFIX) or not _is(path, Path.exists):
        return ()
    return tuple((str(file), status.st_size, status.st_mtime_ns) for file, status in _stated(path))


def _stated(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    if not path.is_dir():
        yield path, path.stat()
        return
    for here, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield Path(here, name), Path(here, name).lstat()


def _is(path: Path, what: object) -> bool:
    """A question to the file system; no for a name that it cannot have."""
    try:
        return bool(what(path))  # type: ignore[operator]
    except (OSError, ValueError):
        return False


def _checked(source: Source) -> Source:
    if not source.columns:
        raise DataError(f"{source.name} has no column")
    if not source.rows:
        raise DataError(f"{source.name} has no row; its columns are {', '.join(source.columns)}")
    return source


def _meant(path: Path) -> str:
    if "\0" in str(path) or not _is(path.parent, Path.is_dir):
        return ""
    close = difflib.get_close_matches(path.name, [one.name for one in path.parent.iterdir()], n=1)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""


def _fits(path: Path) -> None:
    """Check that what is not mapped takes no more than half of the memory.

    Raises:
        DataError: it takes more.
    """
    if not hasattr(os, "sysconf"):  # Windows
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = sum(
        status.st_size
        for file, status in _stated(path)
        if extension(file) in EXTENSIONS and extension(file) not in ARROW
    )
    if size > memory / 2:
        raise DataError(
            f"{path} has {size / 2**30:.1f} GiB, and is read into memory, of which there are {memory / 2**30:.1f}; "
            "write it as Arrow files, which are mapped: "
            "pyarrow.feather.write_feather(table, path, compression='uncompressed')"
        )
