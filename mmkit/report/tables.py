"""Tables of scores and costs, for a terminal, a notebook, or untruncated for a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmkit.report.notes import notes
from mmkit.report.sheets import Sheet, confusion, failures, sheets
from mmkit.report.summary import Row
from mmkit.report.verdict import verdict


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the scores and the costs of combinations, failures, and the verdict."""
    for number, sheet in enumerate(sheets(rows)):
        if number:
            console.print()
        console.print(drawn(sheet, console))
    for line in failures(rows):
        console.print(line, style="red", markup=False)
    for line in notes(rows):
        console.print(f"\n{line}", markup=False, highlight=False)
    comparison = verdict(rows)
    if comparison:
        console.print()
        console.print(comparison.sentence(), markup=False, highlight=False)


def show_confusion(rows: Sequence[Row], console: Console) -> None:
    """Print the confusion matrix on test of the best combination on validation, summed over its seeds."""
    sheet = confusion(rows)
    console.print()
    if sheet is None:
        console.print("No confusion matrix: numbers, texts, and more than 100 classes have none.", markup=False)
        return
    console.print(sheet.title, markup=False, highlight=False, soft_wrap=True)
    console.print(drawn(sheet, console, titled=False))


def drawn(sheet: Sheet, console: Console, *, titled: bool = True) -> Table:
    """A sheet as this console shows it. What looks like markup in a name is printed as it stands."""
    terminal = console.is_terminal
    table = Table(
        title=Text(sheet.title) if titled and sheet.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if terminal else None,
        padding=(0, 1 if terminal else 2),
        pad_edge=False,
    )
    for name in sheet.names:
        table.add_column(Text(name), no_wrap=not terminal, overflow="fold")
    for name in sheet.figures:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for line in sheet.lines:
        table.add_row(*map(Text, line))
    return table
