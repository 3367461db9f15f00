"""The record of fusions: written after each cell, gone on with where a run stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fusions.cells import Cell
from mmkit.system.machine import machine, software


def document(rows: list[dict[str, Any]], **more: Any) -> str:
    """The record: machine, versions, and one row a line, of four digits."""
    short = json.loads(json.dumps(rows), parse_float=lambda number: float(f"{float(number):.4g}"))
    about = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "software": software(), **more}
    lines = ",\n  ".join(json.dumps(row) for row in short)
    return f'{json.dumps(about, indent=1)[:-2]},\n "rows": [\n  {lines}\n ]\n}}\n'


def given(file: Path) -> dict[str, Any]:
    """What a record holds, of this machine and this software.

    Raises:
        SystemExit: the file is of another machine or other software.
    """
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if (found["machine"], found["software"]) != (machine(), software()):
        raise SystemExit(
            f"{file} was measured on another machine or with other software, and its figures do not go with those "
            "of this one: remove it, or name another file"
        )
    return found


def write(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    beside = file.with_suffix(".part")
    beside.write_text(text, "utf-8")
    beside.replace(file)


@dataclass
class Record:
    """Rows by cell; and why cells were left out.

    Args:
        file: where it is kept; None is nowhere.
    """

    file: Path | None
    rows: dict[Cell, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[Cell, str] = field(default_factory=dict)

    @staticmethod
    def read(file: Path | None, asked: Iterable[Cell]) -> Record:
        """The record of a file, without what is to be measured anew: the cells asked for, where it is finished.

        Raises:
            SystemExit: the file is of another machine or other software.
        """
        record = Record(file)
        if file is None or not file.exists():
            return record
        found = given(file)
        record.rows = {Cell.of(row): row for row in found["rows"]}
        record.left_out = {Cell.of(row): row["why"] for row in found.get("left_out", ())}
        if found.get("finished", True):
            for cell in asked:
                record.rows.pop(cell, None)
                record.left_out.pop(cell, None)
        return record

    def write(self, *, finished: bool) -> None:
        """Write the file, whole or not at all."""
        if self.file is None:
            return
        left_out = [{**cell.as_json(), "why": why} for cell, why in self.left_out.items()]
        text = document(list(self.rows.values()), finished=finished, left_out=left_out)
        write(self.file, text)
