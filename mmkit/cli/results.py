"""Tables of results on stdout: in its width on a terminal, plain and uncropped in a pipe; and JSON documents."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mmkit.report.labels import shortened
from mmkit.report.sheet import Sheet
from mmkit.report.tables import drawn, put


def stdout() -> Console:
    """A console for stdout, which crops nothing unless it is a terminal."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else 10_000, no_color=not terminal, highlight=False)


def print_lines(titles: Sequence[str], lines: Sequence[Sequence[str]], named: Sequence[str]) -> None:
    """Print lines of cells: separated by tabs in a pipe, on a terminal as a table.

    Args:
        titles: of the cells.
        lines: the cells of each line, in the order of the titles.
        named: the titles of the columns that may be shortened on a terminal, which come first there.
    """
    if not sys.stdout.isatty():
        for line in lines:
            print("\t".join(line))
        return
    if not lines:
        return
    columns = dict(zip(titles, zip(*lines, strict=True), strict=True))
    short = [shortened(columns[title]) for title in named]
    figures = [title for title in titles if title not in named]
    cells = [list(row) for row in zip(*short, *(columns[title] for title in figures), strict=True)]
    whole = ["  ".join(columns[title][place] for title in named) for place in range(len(lines))]
    cut = any(list(columns[title]) != texts for title, texts in zip(named, short, strict=True))
    console = stdout()
    for table in drawn([Sheet("", list(named), figures, cells, whole, cut)], console):
        put(table, console)


def print_json(document: object) -> None:
    """Print a document that can be read back whatever the encoding of stdout: what that lacks is escaped."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    print(json.dumps(document, indent=1, ensure_ascii=encoding != "utf8", allow_nan=False))


def print_results(sheet: Sheet, sentence: str) -> None:
    """Print a table, then a sentence about it."""
    console = stdout()
    for table in drawn([sheet], console):
        put(table, console)
    put(Text(f"\n{sentence}"), console)
