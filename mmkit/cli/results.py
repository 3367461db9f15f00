"""Results on stdout, as a table: drawn on a terminal, plain and uncropped in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

from mmkit.report.sheets import Sheet
from mmkit.report.tables import drawn


def stdout() -> Console:
    """The console of stdout, which crops nothing where nobody looks."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else 10_000, no_color=not terminal, highlight=False)


def print_results(sheet: Sheet, sentence: str) -> None:
    """A table, and what is to be said of it."""
    console = stdout()
    console.print(drawn(sheet, console))
    console.print(f"\n{sentence}", markup=False, soft_wrap=True)
