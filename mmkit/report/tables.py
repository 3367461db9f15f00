"""Tables of scores and costs, for a terminal, a notebook, or untruncated for a pipe."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from mmkit.records.verdicts import Terms
from mmkit.report.layout import GAP, broken, laid_out
from mmkit.report.missing import missing
from mmkit.report.remarks import remarks
from mmkit.report.sheet import Sheet
from mmkit.report.sheets import confusion, failures, sheets, stopped
from mmkit.report.summary import Row
from mmkit.report.verdict import verdict


def show(rows: Sequence[Row], console: Console, terms: Terms | None = None) -> None:
    """Print the scores and the costs of combinations, failures, and the verdict."""
    tables = sheets(rows, terms)
    for table in drawn(tables, console):
        put(table, console)
    for sheet in [stopped(rows)] if tables else []:
        if sheet:
            console.print()
            for table in drawn([sheet], console):
                put(table, console)
    for line in failures(rows):
        put(Text(line, "red"), console)
    for line in missing(record for row in rows for record in row.records):
        put(Text(line), console)
    for line in remarks(rows, terms):
        console.print()
        put(Text(line), console)
    comparison = verdict(rows, terms)
    if comparison:
        if tables:
            console.print()
        put(Text(comparison.sentence()), console)


def show_confusion(rows: Sequence[Row], console: Console) -> None:
    """Print the confusion matrix on test of the best combination on validation, summed over its seeds."""
    sheet = confusion(rows)
    console.print()
    if sheet is None:
        put(Text("No confusion matrix: numbers, texts, and more than 100 classes have none."), console)
        return
    for table in drawn([sheet], console):
        put(table, console)


def put(text: Text, console: Console) -> None:
    """Print a text as it stands; a terminal breaks it between words, and elsewhere a line stays one."""
    console.print(text, soft_wrap=not console.is_terminal, highlight=False)


def drawn(sheets: Sequence[Sheet], console: Console) -> list[Text]:
    """Sheets with the same rows as this console shows them, each with an empty line before the next.

    On a terminal no line is longer than it is wide, but for titles and the legend, which it wraps. Elsewhere each row
    is one line. Where a label is shortened, rows are numbered, and a legend below the last sheet has the whole labels.
    What looks like markup in a name is printed as it stands.
    """
    terminal = console.is_terminal
    width, gap = (console.width, GAP) if terminal else (None, 2 * GAP)
    numbered = any(sheet.numbered for sheet in sheets)
    layouts = [laid_out(sheet, width, numbered=numbered, gap=gap) for sheet in sheets]
    told = any(sheet.numbered and sheet.whole for sheet in sheets)
    if any(layout.cut for layout in layouts):
        told = True
        layouts = [laid_out(sheet, width, numbered=True, gap=gap) for sheet in sheets]
    texts: list[Text] = []
    for sheet, layout in zip(sheets, layouts, strict=True):
        titles = [Text(sheet.title, "italic")] if sheet.title else []
        for header, body in layout.blocks:
            longest = max(map(cell_len, [*header, *body]), default=0)
            rule = [Text("─" * longest, "dim")] if terminal else []
            head = [Text(line, "bold") for line in header]
            texts += [*([Text()] if texts else []), Text("\n").join([*titles, *head, *rule, *map(Text, body)])]
            titles = []
    if told:
        texts += [Text(), Text("\n".join(_numbered(sheets[0].legend(), width)))]
    return texts


def _numbered(legend: Sequence[str], width: int | None) -> list[str]:
    """Lines of the legend, each behind the number of its row; what does not fit goes on below its beginning."""
    size = len(str(len(legend)))
    lines = []
    for number, text in enumerate(legend, start=1):
        first, *rest = [text] if width is None else broken(text, max(width - size - 2, 1))
        lines += [f"{number:>{size}}  {first}", *(" " * (size + 2) + line for line in rest)]
    return lines
