"""The layout of tables: in a given width no figure is broken and every row keeps its label.

Where there is room for all, a table stands as it is. Else labels are broken into two lines, then figures are told in
several tables below each other, then labels are cut visibly; what is cut stands whole in the legend, by the number of
its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

from mmkit.report.labels import plain
from mmkit.report.sheet import Sheet

GAP = 2
"""Columns of the terminal between two columns of a table."""
LINES = 2
"""Of a label, at most."""
FOLDED = 12
"""The least width of a column of names whose texts are broken."""
ROOMY = 24
"""The least width of all names together that are cut before the figures are told in one more table."""
CUT = "…"


@dataclass(frozen=True)
class Layout:
    """Tables as lines of text.

    Args:
        blocks: the header's lines and the other lines of each table.
        cut: whether a label was cut.
    """

    blocks: list[tuple[list[str], list[str]]]
    cut: bool


def laid_out(sheet: Sheet, width: int | None, *, numbered: bool = False, gap: int = GAP) -> Layout:
    """A sheet in so many columns of a terminal.

    Args:
        sheet: what to tell.
        width: of the terminal; None is no limit.
        numbered: whether rows have numbers.
        gap: between two columns.
    """
    titles = [[plain(name)] for name in sheet.names]
    names = [[plain(text) for text in line[: len(titles)]] for line in sheet.lines]
    if numbered:
        titles = [["#"], *titles]
        names = [[str(number), *line] for number, line in enumerate(names, start=1)]
    rows = [[plain(text) for text in line[len(sheet.names) :]] for line in sheet.lines]
    heads = [title.split("\n") for title in sheet.figures]
    sizes = [max([*map(cell_len, head), *(cell_len(row[place]) for row in rows)]) for place, head in enumerate(heads)]
    for groups, room, last in _divisions(sizes, width, gap):
        fitted = _fitted(titles, names, room, gap, int(numbered), cut=last)
        if fitted is not None:
            labels, cut = fitted
            return Layout([_block(labels, heads, rows, sizes, group, gap) for group in groups], cut)
    raise AssertionError("the last division always fits")


def _divisions(sizes: Sequence[int], width: int | None, gap: int) -> Iterator[tuple[list[list[int]], int | None, bool]]:
    """Ways to divide the figures into tables, with the room for names in each; whether names are cut to fit."""
    if width is None:
        yield [list(range(len(sizes)))], None, False
        return
    for count in range(1, len(sizes) + 1):
        groups = _groups(sizes, count)
        room = width - max(sum(sizes[place] + gap for place in group) for group in groups)
        if room > 0:
            yield groups, room, False
        if room >= ROOMY:
            yield groups, room, True
    groups = [[place] for place in range(len(sizes))] or [[]]
    yield groups, max(width - max((size + gap for size in sizes), default=0), FOLDED), True


def _groups(sizes: Sequence[int], count: int) -> list[list[int]]:
    """So many groups of neighbours of about the same width."""
    groups: list[list[int]] = [[] for _ in range(count)]
    whole, before = sum(sizes), 0
    for place, size in enumerate(sizes):
        groups[min(count - 1, int(count * (before + size / 2) / whole))].append(place)
        before += size
    return [group for group in groups if group]


def _fitted(
    titles: list[list[str]], names: list[list[str]], room: int | None, gap: int, fixed: int, *, cut: bool
) -> tuple[list[tuple[list[str], list[list[str]]]], bool] | None:
    """Title and cells of each column of names as lines of text that need no more than `room`, and whether one was cut.

    None if they do not fit. The first `fixed` columns are never broken.
    """
    columns = [[title[0], *(line[place] for line in names)] for place, title in enumerate(titles)]
    widths = [max(map(cell_len, column)) for column in columns]
    free = None if room is None else room - gap * (len(widths) - 1) - sum(widths[:fixed])
    was_cut = False
    if free is not None and sum(widths[fixed:]) > free:
        given = _shares(widths[fixed:], free)
        if not cut and any(share < min(FOLDED, size) for share, size in zip(given, widths[fixed:], strict=True)):
            return None
        lines = [[broken(text, share) for text in column] for column, share in zip(columns[fixed:], given, strict=True)]
        if any(len(text) > LINES for column in lines for text in column):
            if not cut:
                return None
            was_cut = True
            texts = zip(columns[fixed:], lines, given, strict=True)
            lines = [[_clipped(*cell, share) for cell in zip(a, b, strict=True)] for a, b, share in texts]
        folded = [*([[text] for text in column] for column in columns[:fixed]), *lines]
    else:
        folded = [[[text] for text in column] for column in columns]
    return [(column[0], column[1:]) for column in folded], was_cut


def _shares(widths: Sequence[int], room: int) -> list[int]:
    """The room of each column: narrow ones get what they need, the others share the rest."""
    given = [0] * len(widths)
    left, open_ = room, list(range(len(widths)))
    while open_:
        share = left // len(open_)
        small = [place for place in open_ if widths[place] <= share]
        for place in small or open_:
            given[place] = min(widths[place], share)
            left -= given[place]
        open_ = [place for place in open_ if place not in small] if small else []
    return [max(size, 1) for size in given]


def broken(text: str, room: int) -> list[str]:
    """The text as lines of at most `room`, broken where its parts end as far as that is possible."""
    if cell_len(text) <= room:
        return [text]
    lines = [""]
    for part in re.findall(r"[^\s,:=/_.-]*[\s,:=/_.-]*", text):
        for piece in [part] if cell_len(part.rstrip()) <= room else chop_cells(part, room):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > room:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def _clipped(text: str, lines: list[str], room: int) -> list[str]:
    """The first lines of a text, and its end, which tells more than its middle; a cut is marked."""
    if len(lines) <= LINES:
        return lines
    end = text
    while cell_len(end) > max(room - 1, 0):
        end = end[1:]
    return [*lines[: LINES - 1], CUT + end]


def _block(
    labels: Sequence[tuple[list[str], list[list[str]]]],
    heads: Sequence[list[str]],
    rows: Sequence[Sequence[str]],
    sizes: Sequence[int],
    group: Sequence[int],
    gap: int,
) -> tuple[list[str], list[str]]:
    """The lines of one table that has a group of the figures."""
    widths = [max(map(cell_len, [*title, *(text for cell in cells for text in cell)])) for title, cells in labels]
    whole = [*widths, *(sizes[place] for place in group)]
    high = max([len(title) for title, _ in labels] + [len(heads[place]) for place in group], default=1)

    def line(left: Sequence[str], right: Sequence[str]) -> str:
        cells = [text + " " * (size - cell_len(text)) for text, size in zip(left, widths, strict=True)]
        cells += [" " * (size - cell_len(text)) + text for text, size in zip(right, whole[len(widths) :], strict=True)]
        return (" " * gap).join(cells).rstrip()

    def at(texts: Sequence[str], number: int) -> str:
        return texts[number] if 0 <= number < len(texts) else ""

    header = [
        line(
            [at(title, number - high + len(title)) for title, _ in labels],
            [at(heads[place], number - high + len(heads[place])) for place in group],
        )
        for number in range(high)
    ]
    body = []
    for number, row in enumerate(rows):
        cells = [column[number] for _, column in labels]
        for step in range(max(map(len, cells), default=1)):
            figures = [row[place] if step == 0 else "" for place in group]
            body.append(line([at(cell, step) for cell in cells], figures))
    return header, body
