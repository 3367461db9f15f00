"""Splits that are files of their own: `train=a.csv,validation=b.csv,test=c.csv`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from mmkit.errors import DataError, UsageError, one_of
from mmkit.sources.memory import PREFIX
from mmkit.sources.reading import Column, Source, read, stamp
from mmkit.sources.splitting import NAMES
from mmkit.sources.units import SPLITS

COLUMN = "split"
"""The column that says of which file a row is."""

_PART = re.compile(r"\s*(\w+)\s*=\s*(.+?)\s*")


def files_of_splits(splits: str) -> dict[str, str] | None:
    """The file of each split; None where splits are no files.

    >>> files_of_splits("train=a.csv,test=b.csv")
    {'train': 'a.csv', 'test': 'b.csv'}
    >>> files_of_splits("60/15/25")

    Raises:
        UsageError: one is named twice, or there is no such split, or none is test.
    """
    if "=" not in splits:
        return None
    found: dict[str, str] = {}
    for text in re.split(r",(?=\s*\w+\s*=)", splits):
        part = _PART.fullmatch(text)
        if part is None or part[1].lower() not in NAMES:
            got = text.partition("=")[0].strip()
            raise UsageError(
                f"--splits takes train=FILE,validation=FILE,test=FILE; got {text!r:.80}; {one_of(SPLITS, got)}"
            )
        name = SPLITS[NAMES[part[1].lower()]]
        if name in found:
            raise UsageError(f"--splits names {name} twice; give each split one file, a folder or a pattern")
        found[name] = part[2]
    if "test" not in found:
        raise UsageError("--splits names no file of test; write test=FILE")
    return found


def paths_of(data: str, parts: Mapping[str, str]) -> dict[str, str]:
    """What is read for each split, train first: files in the folder `data`, or as a shell has them; `data` trains.

    Raises:
        UsageError: train is missing or given twice, or a file is there in both places.
    """
    folder = Path(data) if not data.startswith(PREFIX) and data and Path(data).is_dir() else None
    found = {name: _path(folder or Path(data).parent, parts[name]) for name in SPLITS if name in parts}
    if "train" not in parts:
        if folder is not None or not data:
            raise UsageError("--splits names no file of train; write train=FILE, or give that file as --data")
        found = {"train": data, **found}
    elif folder is None and data and not _same(found["train"], data):
        raise UsageError(f"--data {data} trains, and --splits names train={parts['train']}; give one of them")
    names = list(found)
    for place, name in enumerate(names):
        for other in names[:place]:
            if _same(found[name], found[other]):
                raise UsageError(f"--splits: {other} and {name} are the one file {found[name]}")
    return found


def _path(folder: Path, name: str) -> str:
    if name.startswith(PREFIX):
        return name
    there, here = folder / name, Path(name)
    if there.exists() and here.exists() and not there.samefile(here):
        raise UsageError(f"--splits: {name} is in {folder} and here, too; write ./{name}, or the whole path")
    return name if here.exists() or (not there.exists() and here.is_absolute()) else str(there)


def _same(one: str, other: str) -> bool:
    if PREFIX in {one[: len(PREFIX)], other[: len(PREFIX)]}:
        return one == other
    return one == other or (Path(one).exists() and Path(other).exists() and Path(one).samefile(other))


def read_splits(
    paths: Mapping[str, str], media: Mapping[str, Sequence[str]], *, files: str | None = None, outside: bool = False
) -> Source:
    """One source of the files of all splits, with a column that says of which a row is.

    Args:
        paths: by split.
        media: the extensions of files of each modality, by modality.
        files: where the relative names of files begin; None is the folder of the table that trains.
        outside: True where what lies outside of that folder may be read.

    Raises:
        UsageError: a folder whose sub-folders are classes.
        DataError: one cannot be read, or they do not have the same columns.
    """
    sources = {name: read(path, media, files=files, outside=outside) for name, path in paths.items()}
    first = next(iter(sources.values()))
    for name, source in sources.items():
        if "label" in source.made:
            raise UsageError(
                f"{source.name} is a folder of classes; give the folder above it, whose folders are splits, as --data"
            )
        if COLUMN in source.columns:
            raise DataError(f"{source.name} has a column {COLUMN!r} of its own; rename it, or write --splits {COLUMN}")
        if other := first.columns.keys() ^ source.columns.keys():
            raise DataError(
                f"{first.name} and {source.name} ({name}) do not go together: one of them has no column {min(other)!r}"
            )
    columns: dict[str, Column] = {
        name: _together(name, [one.columns[name] for one in sources.values()]) for name in first.columns
    }
    names = [name for name, source in sources.items() for _ in range(source.rows)]
    columns[COLUMN] = pa.chunked_array([pa.array(names)])
    return replace(
        first,
        name=", ".join(source.name for source in sources.values()),
        columns=columns,
        made=first.made | {COLUMN},
        splits="as given: " + ", ".join(f"{name} {Path(one.name).name}" for name, one in sources.items()),
        told=tuple(text for source in sources.values() for text in source.told),
    )


def stamps(data: str, splits: str) -> tuple[object, ...]:
    """What changes when a source or one of the files of its splits does."""
    parts = files_of_splits(splits)
    return stamp(data) if parts is None else tuple(stamp(path) for path in paths_of(data, parts).values())


def _together(name: str, columns: Sequence[Column]) -> Column:
    if any(isinstance(column, list) for column in columns):
        return [cell for column in columns for cell in (column if isinstance(column, list) else column.to_pylist())]
    tables = [pa.table({name: column}) for column in columns]
    try:
        return pa.concat_tables(tables, promote_options="permissive").column(name)
    except pa.ArrowException as error:
        kinds = ", ".join(dict.fromkeys(str(table.schema.types[0]) for table in tables))
        raise DataError(f"column {name} has other types in other splits: {kinds}; give them one") from error
