"""Any source of a user's own data, read: a file, a folder, or a table in memory.

Arrow files and what `datasets` saved are mapped, and cost no memory; all else is read into memory, up to half of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mmkit.errors import DataError, UsageError
from mmkit.sources.folders import files_in, joined, read_folder
from mmkit.sources.formats import ARROW, EXTENSIONS, LINES, extension, no_table, parts_of, plain_file, read_file, unique
from mmkit.sources.hub import PREFIX as HUB
from mmkit.sources.hub import find, read_hub
from mmkit.sources.kept import kept
from mmkit.sources.memory import PREFIX, Column, held
from mmkit.sources.shards import files_of, is_pattern
from mmkit.sources.sheets import read_sheet, sheet_in
from mmkit.sources.tars import KEY, is_tar, read_tars
from mmkit.system.files import meant

__all__ = ["Column", "Source", "read", "stamp"]


@dataclass(frozen=True)
class Source:
    """A table as it was read.

    Args:
        name: the path that was given, or "the table" for one in memory.
        columns: by name, all of one length: Arrow's, or lists of Python objects.
        folder: where the relative names of files in its cells begin.
        made: columns that are made of names: `label`, the class of a file, and `split`, of folders; `__key__` of
            members of tars.
        told: what a user should know of how it was read.
        splits: how rows came to their splits, where files of their own say it.
    """

    name: str
    columns: dict[str, Column]
    folder: Path
    made: frozenset[str] = frozenset()
    told: tuple[str, ...] = ()
    splits: str = ""

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
    told: list[str] = []
    if data.startswith(HUB):
        table, folder, by_split, told = read_hub(data)
        made = frozenset({"split"} if by_split else ())
    elif _is(path, Path.is_dir):
        folder = path
        if tars := _tars_in(path, outside=outside):
            (table, told), made = _of_tars(data, tars, media), frozenset({KEY})
        else:
            _fits(path)
            table, made = read_folder(path, media, outside=outside, labelled=labelled)
    elif named := sheet_in(data):
        table, folder = _of_sheet(*named), named[0].parent
    else:
        several = _files_named(data)
        folder = several[0].parent
        if all(map(is_tar, several)):
            (table, told), made = _of_tars(data, several, media), frozenset({KEY})
        elif strange := [one for one in several if extension(one) not in EXTENSIONS]:
            raise DataError(no_table(strange[0], ", ".join(["a folder, or .tar", *EXTENSIONS])))
        else:
            table = _of_files(data, several)
    unique(table.column_names, data)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return _checked(Source(data, columns, Path(files) if files is not None else folder, made, tuple(told)))


def _files_named(data: str) -> list[Path]:
    """The file of a name, or those of a pattern.

    Raises:
        DataError: there is none.
    """
    path = Path(data)
    if _is(path, Path.exists):
        return [path]
    if not is_pattern(data):
        raise DataError(f"there is no file or folder {data!r:.300}{meant(path)}")
    return files_of(data)


def _of_sheet(book: Path, sheet: str) -> pa.Table:
    plain_file(book)
    _fits(book)
    return read_sheet(book, sheet)


def _of_tars(data: str, tars: Sequence[Path], media: Mapping[str, Sequence[str]]) -> tuple[pa.Table, list[str]]:
    """The table of tars, and what to know of it; the headers of large ones are read once."""
    told: list[str] = []

    def parts() -> Iterator[pa.Table]:
        table, found = read_tars(tars, media)
        told[:] = found
        yield table

    return kept(Path(data).name, tars, parts, fits=lambda: None, notes=lambda: told)


def _of_files(data: str, files: Sequence[Path]) -> pa.Table:
    """The table of one file, or of several that go together."""
    if any(extension(one) in ARROW for one in files):
        return read_file(files[0]) if len(files) == 1 else joined(data, files)
    whole = len(files) > 1 or extension(files[0]) in LINES  # what is read at once
    plain_file(files[0])
    if whole:
        _fits(*files)

    def parts() -> Iterable[pa.Table]:
        return [joined(data, files)] if len(files) > 1 else parts_of(files[0])

    table, _ = kept(Path(data).name, files, parts, fits=lambda: _fits(*files))
    return table


def stamp(data: str) -> tuple[object, ...]:
    """What changes when a source does: sizes and times of its files; of a table in memory its name says all.

    Nothing is opened.
    """
    path = Path(data)
    if data.startswith(PREFIX):
        return ()
    if data.startswith(HUB):
        paths = [find(data).folder]
    elif named := sheet_in(data):
        paths = [named[0]]
    else:
        paths = [path] if _is(path, Path.exists) else files_of(data) if is_pattern(data) else []
    return tuple((str(file), status.st_size, status.st_mtime_ns) for one in paths for file, status in _stated(one))


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


def _tars_in(folder: Path, *, outside: bool) -> list[Path]:
    """The tars of a folder that holds no table."""
    files = sorted(files_in(folder, outside=outside))
    return [] if any(extension(one) in EXTENSIONS for one in files) else [one for one in files if is_tar(one)]


def _fits(*paths: Path) -> None:
    """Check that what is read into memory takes no more than half of it.

    Raises:
        DataError: it takes more.
    """
    if not hasattr(os, "sysconf"):  # Windows
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = sum(
        status.st_size
        for path in paths
        for file, status in _stated(path)
        if extension(file) in EXTENSIONS and extension(file) not in ARROW
    )
    if size > memory / 2:
        raise DataError(
            f"{paths[0]} has {size / 2**30:.1f} GiB, and is read into memory, of which there are {memory / 2**30:.1f}; "
            "write it as Arrow files, which are mapped: "
            "pyarrow.feather.write_feather(table, path, compression='uncompressed')"
        )
