"""The file of a suite's records: JSON lines, appended when a run ends, never edited.

What a line speaks of is written before it, so that a process may be killed between the two.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mmkit.errors import DataError, UsageError
from mmkit.records.record import SCHEMA, Record
from mmkit.records.unread import add_unread
from mmkit.system.files import utf8

COMMAND = "command.txt"
"""The file of a suite's folder that holds the command which asked for it."""


class RecordFile:
    """The records of a suite.

    An incomplete last line, of a process that was killed while writing, is removed when the file is opened. Of two
    lines with the same id the later one counts.

    Args:
        path: the file; it is created if needed.

    Raises:
        UsageError: the folder cannot be created or written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                file.seek(0)
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
        except OSError as error:
            raise UsageError(f"cannot write to {path}: {error.strerror}; choose another folder with --out") from error

    def read(self) -> dict[str, Record]:
        """The records by id, in the order of their first lines.

        Raises:
            DataError: a line is no record, or has another schema.
        """
        return read_records(self.path)

    def append(self, record: Record) -> None:
        """Add a line and flush it to the disk; before it, the files that it speaks of.

        Raises:
            OSError: something cannot be written.
        """
        for values, name in record.of_samples():
            values.write(self.path.parent / name)
        if record.unread_values:
            add_unread(self.path.parent, record.unread_values)
        line = json.dumps(record.document(), ensure_ascii=False, allow_nan=False)
        with self.path.open("ab") as file:
            file.write(utf8(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


def read_records(path: Path, *, newest_last: bool = False) -> dict[str, Record]:
    """The records of a file by id; an incomplete last line is none.

    Args:
        path: of the file.
        newest_last: whether they come in the order of their last lines; else of their first.

    Raises:
        DataError: a line is no record, or has another schema.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    records: dict[str, Record] = {}
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            document = json.loads(line)
            schema = document["schema"]
            record = Record.of(document, path.parent) if schema == SCHEMA else None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number} is no record ({error}); remove the line, or choose another folder"
            ) from error
        if record is None:
            raise DataError(
                f"{path}, line {number} has schema {schema}; this version of mmkit reads {SCHEMA}; choose "
                "another folder"
            )
        for _, file in record.of_samples():
            if not (path.parent / file).is_file():
                raise DataError(
                    f"{path}, line {number} has its scores in {file}, which is not there; bring it back, or remove the "
                    "line to have its run done again"
                )
        if newest_last:
            records.pop(record.id, None)
        records[record.id] = record
    return records
