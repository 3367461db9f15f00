"""Suites that are only read: of a folder, of a folder of suites, or of one file; nothing of them is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkit.errors import DataError
from mmkit.records import splits
from mmkit.records.file import read_records
from mmkit.records.record import Record
from mmkit.system.files import at_home

FILE = "records.jsonl"


@dataclass(frozen=True)
class Read:
    """The records of one suite.

    Args:
        folder: of the suite.
        records: all of them, in the order of their first lines.
    """

    folder: Path
    records: list[Record]


def read_suites(path: str | Path) -> list[Read]:
    """The suites that a path holds, in the order of their names; of two lines with one id the later one counts.

    A line that another process is just writing is not read.

    Args:
        path: the folder of a suite, a folder that holds such folders at any depth, or a file of records.

    Raises:
        DataError: there is no record, or one that cannot be read.
    """
    found = [Read(file.parent, list(_records(file).values())) for file in _files(at_home(path))]
    if not any(one.records for one in found):
        raise DataError(f"{path} holds no record yet; a suite writes one when a run ends")
    return found


def groups_of_test(folder: Path) -> dict[str, list[str | None]] | str | None:
    """The groups of the samples of the test split, by factor, in its order.

    None where the samples are in no groups; a text where that cannot be known, which says why.

    Args:
        folder: of the suite.
    """
    import pyarrow as pa  # noqa: PLC0415 (60 ms, and listing runs needs none)
    from pyarrow import parquet  # noqa: PLC0415

    try:
        names = parquet.read_schema(folder / splits.FILE).names
        factors = [name for name in names if name not in splits.OF_EACH]
        if not factors:
            return None
        if splits.FOLD in names:
            return "samples in groups, in folds"
        table = parquet.read_table(folder / splits.FILE, filters=[("split", "=", "test")]).sort_by("row")
    except (OSError, pa.ArrowInvalid):
        return f"no {splits.FILE} that tells groups"
    return {name: table.column(name).to_pylist() for name in factors}


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


def _records(file: Path) -> dict[str, Record]:
    try:
        return read_records(file)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
