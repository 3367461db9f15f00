"""What the folder of a suite holds, read for its page; nothing in it is changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmkit.errors import DataError, UsageError
from mmkit.records.file import COMMAND, read_records
from mmkit.records.plans import of_last_plan
from mmkit.records.record import Record
from mmkit.records.verdicts import Terms, terms_of
from mmkit.report.summary import Row, rows


@dataclass(frozen=True)
class Folder:
    """The folder of a suite.

    Args:
        path: of the folder.
        records: of one plan, that of the last run: compared runs and yardsticks.
        left_out: number of other compared runs, of other plans or trained otherwise.
        costs: `suite.json`; empty where costs were not measured.
        data: `data.json`; empty where the task is no table of one's own.
        command: that asked for the suite; empty where it is not known.
    """

    path: Path
    records: list[Record]
    left_out: int = 0
    costs: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    @staticmethod
    def read(path: Path) -> Folder:
        """Read a folder.

        Raises:
            UsageError: it is no folder of a suite.
            DataError: something in it cannot be read.
        """
        file = path / "records.jsonl"
        if not path.is_dir():
            raise UsageError(f"{path} is no folder; expected that of a suite, which mmkit bench --out names")
        if not file.is_file():
            model = "; it is that of a model, whose report is its README.md" if (path / "record.json").is_file() else ""
            raise UsageError(f"{path} holds no records.jsonl{model}; expected a folder of mmkit bench")
        try:
            known = list(read_records(file, newest_last=True).values())
            command = (path / COMMAND).read_text("utf-8").strip() if (path / COMMAND).is_file() else ""
        except OSError as error:
            raise DataError(f"{error.filename or file}: {error.strerror}") from error
        compared = [record for record in known if record.purpose != "search" or record.stopped]
        if not compared:
            raise UsageError(
                f"{file} holds no run that was compared yet; the same command of mmkit bench goes on there"
            )
        of_plan = of_last_plan(compared)
        left = sum(one.purpose == "comparison" for one in compared)
        left -= sum(one.purpose == "comparison" for one in of_plan)
        return Folder(path, of_plan, left, _json(path / "suite.json"), _json(path / "data.json"), command)

    @cached_property
    def rows(self) -> list[Row]:
        """One row per combination, the best on validation first."""
        return rows(self.records)

    @cached_property
    def terms(self) -> Terms:
        """What the verdict hangs on beside the records: that of the last verdict of the folder."""
        return terms_of(self.path)

    @cached_property
    def models(self) -> dict[str, Path]:
        """Folders of saved models by the id of their run."""
        found = {}
        for note in sorted((self.path / "models").glob("*.score.json")):
            folder = note.with_name(note.name.removesuffix(".score.json"))
            if (folder / "model.json").is_file() and (id_ := _json(note).get("id")):
                found[str(id_)] = folder
        return found


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of a file; empty where there is none.

    Raises:
        DataError: it is something else.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it to do without") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}; expected an object; remove it to do without")
    return found
