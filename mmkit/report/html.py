"""Rows as HTML, for a notebook: real tables in the notebook's own style, which can be copied and read aloud."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mmkit.records.verdicts import Terms
from mmkit.report.missing import missing
from mmkit.report.remarks import remarks
from mmkit.report.sheet import Sheet
from mmkit.report.sheets import failures, sheets, stopped
from mmkit.report.summary import Row
from mmkit.report.verdict import verdict


def html_of(found: Sequence[Row], terms: Terms | None = None) -> str:
    """What the combinations reach, what they cost, what failed, what inputs tell, and the verdict."""
    said, tables = verdict(found, terms), sheets(found, terms)
    legend = tables[0].legend() if any(sheet.numbered for sheet in tables) else []
    return "\n".join(
        [
            *map(table, tables),
            *(paragraph(f"{number}  {text}") for number, text in enumerate(legend, start=1)),
            *([table(short)] if tables and (short := stopped(found)) else []),
            *(paragraph(line, style="color:#c00") for line in failures(found)),
            *(paragraph(line) for line in missing(record for row in found for record in row.records)),
            *map(paragraph, remarks(found, terms)),
            *([paragraph(said.sentence())] if said else []),
        ]
    )


def table(sheet: Sheet) -> str:
    """One table, its title above it; its rows have numbers where a legend tells more of them."""
    number = _cell("th", "#", "left") if sheet.numbered else ""
    names = number + "".join(_cell("th", name, "left") for name in sheet.names)
    figures = "".join(_cell("th", name, "right") for name in sheet.figures)
    rows = "".join(
        "<tr>"
        + (_cell("td", str(place), "left") if sheet.numbered else "")
        + "".join(_cell("td", text, "left" if at < len(sheet.names) else "right") for at, text in enumerate(line))
        + "</tr>\n"
        for place, line in enumerate(sheet.lines, start=1)
    )
    caption = f'<caption style="text-align:left;white-space:nowrap">{escape(sheet.title)}</caption>\n'
    head = f"<thead><tr>{names}{figures}</tr></thead>\n"
    return f"<table style='margin:.5em 0'>\n{caption if sheet.title else ''}{head}<tbody>\n{rows}</tbody>\n</table>"


def paragraph(text: str, style: str = "") -> str:
    """One paragraph of plain text."""
    return f'<p style="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def _cell(tag: str, text: str, align: str) -> str:
    # Figures stay on one line; names may break anywhere, since options make them long.
    wrap = "overflow-wrap:anywhere" if align == "left" else "white-space:nowrap"
    return f'<{tag} style="text-align:{align};padding:.2em .6em;{wrap}">{escape(text).replace(chr(10), "<br>")}</{tag}>'
