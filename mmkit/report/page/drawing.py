"""Drawings as SVG within a page: matplotlib draws them, and the page's style gives them colours and letters."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, GRID, PAPER, ACCENT, SECOND = ("#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f", "#101112")
"""Colours that stand for those of the page, which are others in the dark."""
_NAMES = {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper", ACCENT: "accent", SECOND: "second"}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # letters stay letters: they can be found, copied and read aloud
    "text.parse_math": False,  # a name may hold dollars
    "axes.unicode_minus": True,
    "font.size": 10.5,
    "font.family": "DejaVu Sans",  # which comes with matplotlib; the page shows its own
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
}


class Canvas:
    """One set of axes that is drawn on; when that is done, `svg` has it as the page embeds it."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def canvas(name: str, title: str, width: float, height: float) -> Iterator[Canvas]:
    """Draw.

    Args:
        name: of the drawing in the page: letters alone.
        title: what it shows, for who does not see it.
        width: in inches of 72 units.
        height: likewise.
    """
    from matplotlib import rc_context  # noqa: PLC0415 (an extra, and slow)
    from matplotlib.figure import Figure  # noqa: PLC0415

    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    with rc_context(settings), warnings.catch_warnings():
        # The page has letters that the font of the layout lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        drawn = Canvas(figure.subplots())
        yield drawn
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    drawn.svg = _embedded(stream.getvalue(), name, title)


def _embedded(svg: str, name: str, title: str) -> str:
    """An SVG without what only a file of its own needs, its colours and letters those of the page."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    head, rest = body.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None  # noqa: S101 (matplotlib writes one)
    rest = re.sub(r'\b(id|xlink:href)="(#?)([^"]*)"', lambda m: _own(m, name), rest)
    rest = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", rest)
    rest = re.sub(r'font: (?:[a-z]+ )*([\d.]+px) [^;"]*', r"font-size: \1", rest)
    for colour, called in _NAMES.items():
        rest = rest.replace(colour, f"var(--{called})")
    width = float(box[1].split()[2])
    told = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return f'<svg role="img" aria-label="{told}" viewBox="{box[1]}" style="max-width:{width:.0f}pt">{rest}'.strip()


def _own(found: re.Match[str], name: str) -> str:
    """An id, or a reference to one, that no other drawing of the page has."""
    attribute = "href" if found[1] == "xlink:href" else "id"
    return f'{attribute}="{found[2]}{name}-{found[3]}"'
