"""The table of a suite as CSV, and its tables and sentences as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mmkit.records.verdicts import Terms
from mmkit.report.labels import plain
from mmkit.report.missing import missing
from mmkit.report.remarks import remarks
from mmkit.report.sheet import Sheet
from mmkit.report.sheets import failures, sheets, stopped
from mmkit.report.summary import Row, table
from mmkit.report.verdict import verdict


def csv_of(rows: Sequence[Row]) -> str:
    """A line per row, the best on validation first, under a line of names; a cell without a value is empty."""
    stream, lines = io.StringIO(newline=""), table(rows)
    writer = csv.DictWriter(stream, list(lines[0]) if lines else ["combination"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def markdown_of(rows: Sequence[Row], terms: Terms | None = None) -> str:
    """The verdict, then the tables, what failed, and what a reader has to know besides.

    Args:
        rows: of a suite.
        terms: of the verdict; None is none.
    """
    said = verdict(rows, terms)
    parts = [_escaped(said.sentence())] if said else []
    tables = sheets(rows, terms)
    for sheet in [*tables, *([short] if tables and (short := stopped(rows)) else [])]:
        parts += [f"**{_escaped(sheet.title)}**", _table(sheet)]
    parts += [f"- {_escaped(line)}" for line in failures(rows)]
    parts += [
        _escaped(line) for line in [*missing(record for row in rows for record in row.records), *remarks(rows, terms)]
    ]
    return "\n\n".join(parts) + "\n"


def _table(sheet: Sheet) -> str:
    """A table whose rows have their whole labels."""
    names = [list(line[: len(sheet.names)]) for line in sheet.lines]
    heads = [*sheet.names, *sheet.figures]
    if sheet.whole:
        names, heads = [[text] for text in sheet.whole], ["combination", *sheet.figures]
    lines = [heads, ["---"] * (len(heads) - len(sheet.figures)) + ["---:"] * len(sheet.figures)]
    lines += [[*name, *line[len(sheet.names) :]] for name, line in zip(names, sheet.lines, strict=True)]
    told = [lines[0], *lines[2:]]
    rows = ["| " + " | ".join(map(_cell, line)) + " |" for line in told]
    return "\n".join([rows[0], "| " + " | ".join(lines[1]) + " |", *rows[1:]])


def _cell(text: str) -> str:
    return _escaped(plain(text.replace("\n", " ")))


def _escaped(text: str) -> str:
    """A text that Markdown shows as it stands."""
    for mark in ("\\", "|", "*", "_", "`", "<", "&", "[", "]"):
        text = text.replace(mark, f"\\{mark}")
    return text
