"""Suites that are only read: of a folder, of a folder of suites, or of one file; nothing of them is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.errors import DataError
from mmkit.records.file import read_records
from mmkit.records.record import Record
from mmkit.records.splits import FILE as FILE_OF_SPLITS
from mmkit.records.splits import read_groups
from mmkit.system.files import at_home

FILE = "records.jsonl"


@dataclass(frozen=True)
class Read:
    """The records of one suite.

    Args:
        folder: of the suite.
        records: all of them, in the order that was asked for.
        written: when the last of them was, in nanoseconds since 1970; 0 where that is not known.
    """

    folder: Path
    records: list[Record]
    written: int = 0


def read_suites(path: str | Path, *, newest_last: bool = False) -> list[Read]:
    """The suites that a path holds, in the order of their names; of two lines with one id the later one counts.

    A line that another process is just writing is not read.

    Args:
        path: the folder of a suite, a folder that holds such folders at any depth, or a file of records.
        newest_last: whether records come in the order of their last lines; else of their first.

    Raises:
        DataError: there is no record, or one that cannot be read.
    """
    found = [
        Read(file.parent, list(_records(file, newest_last=newest_last).values()), file.stat().st_mtime_ns)
        for file in _files(at_home(path))
    ]
    if not any(one.records for one in found):
        raise DataError(f"{path} holds no record yet; a suite writes one when a run ends")
    return found


def groups_of_test(folder: Path) -> Mapping[str, Any] | str | None:
    """The groups of the samples of the test split, by factor, in the order of a run's scores; see `read_groups`.

    None where the samples are in no groups; a text where that cannot be known, which says why.

    Args:
        folder: of the suite.
    """
    if not (folder / FILE_OF_SPLITS).is_file():
        return f"no {FILE_OF_SPLITS} that tells groups"
    return read_groups(folder) or None


def _files(path: Path) -> Sequence[Path]:
    """The files of records of a path."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} is not there; expected the folder of a suite, as `mmkit bench --out` writes it")
    if (path / FILE).is_file():
        return [path / FILE]
    if not (found := sorted(path.rglob(FILE))):
        raise DataError(f"{path} holds no {FILE}; expected the folder of a suite, or a folder of such folders")
    return found


def _records(file: Path, *, newest_last: bool) -> dict[str, Record]:
    try:
        return read_records(file, newest_last=newest_last)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
