"""Tables of results on stdout: with lines on a terminal, plain and uncropped in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from mmkit.report.sheets import Sheet
from mmkit.report.tables import drawn, put


def stdout() -> Console:
    """A console for stdout, which crops nothing unless it is a terminal."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else 10_000, no_color=not terminal, highlight=False)


def print_results(sheet: Sheet, sentence: str) -> None:
    """Print a table, then a sentence about it."""
    console = stdout()
    for table in drawn([sheet], console):
        put(table, console)
    put(Text(f"\n{sentence}"), console)
