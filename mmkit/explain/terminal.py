"""An explanation as lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size

from mmkit.explain import words
from mmkit.explain.found import Found
from mmkit.explain.parts import Columns, Curve, Inside, Picture, TextParts, between
from mmkit.report.labels import plain

WIDTH = 80
NAME, PART = 24, 40
"""Cells of a name of an input, and of a part of it."""
STRONGEST = 5
"""Parts of an input that are listed."""
PLACES, STRETCHES = 8, 16
"""Squares of a picture in each direction, and stretches of a signal, of which the strongest are listed."""
BAR = 30


class Row(NamedTuple):
    """A line with a bar.

    Args:
        name: to the left.
        figure: the value in words.
        error: likewise; empty where there is none.
        value: the length of the bar, of + or of -.
    """

    name: str
    figure: str
    error: str
    value: float


def lines(found: Found) -> Iterator[str]:
    """The answer, contributions as bars, and the strongest parts of each input."""
    yield _short(found.title, WIDTH)
    for sentence in (words.answer(found), words.explained(found), words.nothing(found)):
        yield from _wrapped(sentence)
    yield ""
    yield from _bars([_contribution(found, place) for place in range(len(found.contributions))])
    yield from _wrapped(words.total(found))
    yield from _wrapped(words.how(found))
    for name, one in found.inside.items():
        yield ""
        of_all = "what is lost without it" if one.gained is None else f"together {words.change(found, sum(one.values))}"
        yield f"inside {_short(name)}: {one.method}, {of_all}"
        yield from _bars(_strongest(found, one)) or ["  no part stands out"]
        if (rest := found.by_presence(name)) is not None:
            whole = words.change(found, sum(one.values) + rest)
            yield f"  by being there at all: {words.change(found, rest)}, with the parts {whole}"
    for kind in dict.fromkeys(one.kind for one in found.details):
        yield ""
        yield f"{kind} of the fusion: what it weighs, not what decides"
        yield from _bars([Row(_short(o.name), words.detail(o), "", o.value) for o in found.details if o.kind == kind])
    remarks = list(words.remarks(found))
    if remarks:
        yield ""
    for remark in remarks:
        yield from _wrapped(remark)


def _contribution(found: Found, place: int) -> Row:
    one = found.contributions[place]
    figure = "missing" if one.value is None else words.change(found, one.value)
    error = "" if one.error is None else f"± {words.change(found, one.error).lstrip('+')}"
    return Row(f"{_short(one.name)} ({one.modality})", figure, error, one.value or 0.0)


def _strongest(found: Found, one: Inside) -> list[Row]:
    """Parts that are worth a line, the strongest first."""
    names, values = _named(one)
    order = sorted(range(len(names)), key=lambda place: -abs(values[place]))[:STRONGEST]
    rows = [Row(_short(names[place], PART), words.change(found, values[place]), "", values[place]) for place in order]
    return [row for row in rows if row.figure not in words.NOTHING]


def _named(one: Inside) -> tuple[list[str], list[float]]:
    """The parts with their names; places of a picture and stretches of a signal are joined to a few."""
    parts = one.parts
    if isinstance(parts, TextParts):
        return [parts.text[start:end] for start, end in parts.spans], parts.values
    if isinstance(parts, Columns):
        cells = zip(parts.names, parts.cells, strict=True)
        return [f"{name} = {words.cell(cell)}" for name, cell in cells], parts.values
    if isinstance(parts, Curve):
        count = min(STRETCHES, len(parts.values))
        cuts = [place * len(parts.values) // count for place in range(count + 1)]
        names = [between(parts, parts.edges[start], parts.edges[end]) for start, end in pairwise(cuts)]
        return names, [sum(parts.values[start:end]) for start, end in pairwise(cuts)]
    return _places(parts)


def _places(parts: Picture) -> tuple[list[str], list[float]]:
    """Squares of a picture, by their pixels."""
    side = -(-max(parts.grid.shape) // PLACES)
    down, across = parts.grid.shape
    tall, wide = (size / count for size, count in zip(parts.pixels.shape[1:], (down, across), strict=True))
    names, values = [], []
    for top, bottom in pairwise([*range(0, down, side), down]):
        for left, right in pairwise([*range(0, across, side), across]):
            where = (left * wide, right * wide, top * tall, bottom * tall)
            names.append("x {:.0f} to {:.0f}, y {:.0f} to {:.0f}".format(*where))
            values.append(float(parts.grid[top:bottom, left:right].sum()))
    return names, values


def _bars(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    name, figure = max(cell_len(row.name) for row in rows), max(cell_len(row.figure) for row in rows)
    error = max(cell_len(row.error) for row in rows)
    room = min(BAR, WIDTH - 6 - name - figure - (error + 1 if error else 0))
    most = max(abs(row.value) for row in rows)
    found = []
    for row in rows:
        bar = ("+" if row.value > 0 else "-") * round(room * abs(row.value) / most) if most else ""
        figures = f"{row.figure:>{figure}}" + (f" {row.error:<{error}}" if error else "")
        found.append(f"  {set_cell_size(row.name, name)}  {figures}  {bar}".rstrip())
    return found


def _short(text: str, most: int = NAME) -> str:
    """In one line, of at most so many cells; nothing that a terminal would obey."""
    shown = plain(" ".join(text.split()))
    return shown if cell_len(shown) <= most else set_cell_size(shown, most - 1).rstrip() + "…"


def _wrapped(text: str) -> list[str]:
    """As lines of at most `WIDTH` cells; what `wrapped` of a terminal escapes, as joiners of letters, stays here."""
    found: list[str] = []
    for word in plain(text).split():
        for piece in chop_cells(word, WIDTH):
            if found and cell_len(found[-1]) + 1 + cell_len(piece) <= WIDTH:
                found[-1] += f" {piece}"
            else:
                found.append(piece)
    return found
