"""Tables of results on stdout: with lines on a terminal, plain and uncropped in a pipe."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table


def results() -> tuple[Console, Table]:
    """A console for stdout, which crops nothing unless it is a terminal, and an empty table for it."""
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else 10_000, no_color=not terminal, highlight=False)
    return console, Table(box=box.SIMPLE_HEAD if terminal else None, padding=(0, 1 if terminal else 2), pad_edge=False)


def share(value: float | None) -> str:
    """A share as text in percent; "-" for None."""
    return "-" if value is None else f"{100 * value:.1f}"
