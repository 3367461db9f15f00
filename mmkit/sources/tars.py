"""Tar shards, in the layout of WebDataset: members KEY.EXTENSION of one key are a row, an extension is a column.

A shard is read once, from header to header. `.json` gives a column for each field (`json.label`), `.txt` and `.cls` and
the like give texts; all else stays where it is, and is read from there when it is asked for. Nothing is unpacked, and
nothing that a member is called or points to is followed.

Axes: N rows.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmkit.errors import DataError
from mmkit.sources.formats import CELL, flat, plain_file, table_of_rows, unique, written
from mmkit.sources.members import MEMBER, ending

KEY = "__key__"
"""The column of the names of rows."""
TEXTS = ("txt", "text", "transcript", "caption", "cls", "cls2", "class", "count", "index", "inx", "id")
"""Extensions, as WebDataset has them, whose members are short texts."""

_PACKED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ\0": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_LEFT_OUT = {
    "link": "members that are links, which are not followed",
    "path": "members whose names are absolute or hold `..`, which are left out",
    "other": "members that are devices, pipes or sparse files, which are left out",
    "plain": "members whose names are not KEY.EXTENSION, which are left out",
    "text": "members whose names are not UTF-8, which are left out",
    "again": "members whose names come again, of which the last counts",
    "end": "tars without the mark of their end, so that rows may be missing",
}
"""What members and tars are that give no value, or less than they may have given."""


@dataclass
class Read:
    """What a shard holds.

    Args:
        rows: values by column, by key.
        left_out: why and how many of its members are no values, with the name of the first.
    """

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    def leave(self, why: str, name: str) -> None:
        """Count a member that is no value."""
        count, first = self.left_out.get(why, (0, name))
        self.left_out[why] = count + 1, first


def read_tars(files: Sequence[Path], media: Mapping[str, Sequence[str]]) -> tuple[pa.Table, list[str]]:
    """The table of shards, one after the other, and what a user should know of them.

    Args:
        files: the shards.
        media: the extensions of files of each modality, by modality.

    Raises:
        DataError: one is no tar, is compressed, cut off or damaged, or holds no row.
    """
    tables: list[pa.Table] = []
    left_out: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    for path in files:
        read = _read(path)
        if read.rows:
            tables.append(_table(path, read.rows))
        for why, (count, name) in read.left_out.items():
            left_out[why] += count
            firsts.setdefault(why, name)
    if not tables:
        raise DataError(f"{files[0]} holds no member KEY.EXTENSION; that is how a row is written in a tar")
    told = [f"{_LEFT_OUT[why]}: {count:,}, as {firsts[why]!a:.80}" for why, count in left_out.items()]
    return _by_modality(_together(tables), media), told


def _read(path: Path) -> Read:
    plain_file(path)
    path = path.absolute()
    with path.open("rb") as file:
        head = file.read(6)
        for begin, program in _PACKED.items():
            if head.startswith(begin):
                raise DataError(f"{path} is compressed, and is read in any order only as it is; unpack it: {program}")
        file.seek(0)
        status = os.fstat(file.fileno())
        found = Read()
        try:
            with tarfile.open(fileobj=file, mode="r:", errorlevel=2) as tar:
                for member in _members(tar):
                    _keep(found, member, path, status)
                _ended(found, path, tar.offset, status.st_size)
        except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError, RecursionError, MemoryError) as error:
            said = " ".join(str(error).split())[:200]
            raise DataError(f"{path} cannot be read as a tar: {said}") from error
        _texts(found, path)
    return found


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        yield member
        tar.members = []  # type: ignore[attr-defined]  # or all would be kept


def _ended(found: Read, path: Path, offset: int, length: int) -> None:
    """Check that zeros follow the last member, since a reader of tars stops at whatever is no header.

    Raises:
        DataError: something else follows.
    """
    with path.open("rb") as file:
        file.seek(min(offset, length))
        block = file.read(tarfile.BLOCKSIZE)
    if offset == length:
        found.leave("end", path.name)
    elif offset > length or len(block) < tarfile.BLOCKSIZE or block.strip(b"\0"):
        raise DataError(f"{path} is cut off or damaged at byte {offset:,}; write it again")


def _keep(found: Read, member: tarfile.TarInfo, path: Path, status: os.stat_result) -> None:
    """Note a member as the value of a column of a row."""
    name = member.name
    if member.isdir():
        return
    folder, _, base = name.removeprefix("./").rpartition("/")
    key, _, extension = base.partition(".")
    if member.islnk() or member.issym():
        found.leave("link", name)
    elif name.startswith("/") or ".." in name.split("/") or "\0" in name:
        found.leave("path", name)
    elif not member.isreg() or member.issparse():
        found.leave("other", name)
    elif base.startswith("."):
        return  # notes of programs
    elif base.startswith("__") and base.endswith("__"):
        return  # notes of WebDataset
    elif not key or not extension:
        found.leave("plain", name)
    elif not _is_utf8(name):
        found.leave("text", name)
    elif member.offset_data + member.size > status.st_size:
        raise DataError(f"{path} is cut off: {name!r:.80} ends beyond its end; write it again")
    else:
        row = found.rows.setdefault(f"{folder}/{key}" if folder else key, {})
        column = extension.lower()
        if column in row:
            found.leave("again", name)
        row[column] = {
            "tar": str(path),
            "length": status.st_size,
            "changed": status.st_mtime_ns,
            "name": name,
            "offset": member.offset_data,
            "size": member.size,
        }


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(found: Read, path: Path) -> None:
    """Read the members that are texts."""
    file = os.open(path, os.O_RDONLY)
    try:
        for row in found.rows.values():
            for column in [one for one in row if one.rpartition(".")[2] in (*TEXTS, "json")]:
                row[column] = _text(file, row[column], path)
    finally:
        os.close(file)


def _text(file: int, member: Mapping[str, Any], path: Path) -> Any:
    name, size = member["name"], member["size"]
    if size > CELL:
        raise DataError(f"{name} in {path} has {size:,} bytes; at most {CELL:,} are read into a cell")
    try:
        text = os.pread(file, size, member["offset"]).decode("utf-8-sig")
        if not name.lower().endswith(".json"):
            return text.strip() or None
        return json.loads(text) if text.strip() else None
    except UnicodeDecodeError as error:
        raise DataError(f"{name} in {path} is not UTF-8 at byte {error.start}; convert it") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} in {path} is not JSON: {error}") from error


def _table(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """The table of one shard; fields of JSON are columns of their own."""
    columns: dict[str, Any] = {KEY: pa.array(list(rows), pa.string())}
    for name in dict.fromkeys(one for row in rows.values() for one in row):
        cells = [row.get(name) for row in rows.values()]
        kind = name.rpartition(".")[2]
        if kind in TEXTS:
            columns[name] = pa.array(cells, pa.string())
        elif kind != "json":
            columns[name] = pa.array(cells, MEMBER)
        elif all(cell is None or isinstance(cell, dict) for cell in cells):
            fields = flat(table_of_rows([cell or {} for cell in cells], path), path)
            columns |= {f"{name}.{one}": fields[one] for one in fields.column_names}
        else:
            values = table_of_rows([{"": cell} for cell in cells], path)
            columns[name] = values[""]
    return pa.table(columns)


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """One table; a column that has several types holds strings."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        kinds: dict[str, set[pa.DataType]] = {}
        for table in tables:
            for one in table.schema:
                kinds.setdefault(one.name, set()).add(one.type)
        return pa.concat_tables([_as_strings(one, kinds) for one in tables], promote_options="permissive")


def _as_strings(table: pa.Table, kinds: Mapping[str, Iterable[pa.DataType]]) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if len({kind for kind in kinds[name] if kind != pa.null()}) > 1:
            cells = [None if cell is None else written(cell) for cell in table[name].to_pylist()]
            table = table.set_column(place, name, pa.chunked_array([pa.array(cells, pa.string())]))
    return table


def _by_modality(table: pa.Table, media: Mapping[str, Sequence[str]]) -> pa.Table:
    """The table with one column a modality, where rows have files of different extensions, but one each."""
    unique(table.column_names, "the shards")
    plain = [one.name for one in table.schema if one.type == MEMBER and "." not in one.name]
    for modality, extensions in media.items():
        several = [name for name in plain if f".{name}" in extensions]
        if len(several) < 2 or modality in table.column_names:
            continue
        there = [pc.is_valid(table[name]) for name in several]
        if pc.max(_counts(there)).as_py() > 1:
            continue
        place = table.column_names.index(several[0])
        joined = pc.coalesce(*(table[name] for name in several))
        table = table.drop_columns(several).add_column(place, modality, joined)
    return table


def _counts(masks: Sequence[Any]) -> Any:
    total = masks[0].cast(pa.int8())
    for mask in masks[1:]:
        total = pc.add(total, mask.cast(pa.int8()))
    return total


def is_tar(path: Path) -> bool:
    """Whether a file's name is that of a tar, compressed or not."""
    name = path.name.lower()
    return ending(name) in {".tar", ".tgz", ".tbz2", ".txz"} or ".tar." in name
