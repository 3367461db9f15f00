"""Parts of an input, coloured by what they speak for: text, picture, curve, columns; as HTML that stands alone.

Axes: T segments, C channels, H height, W width.
"""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmkit.explain import words
from mmkit.explain.found import Found
from mmkit.explain.parts import Columns, Curve, Inside, Parts, Picture, TextParts, between

FAINT = 1e-3
"""The unit of an output, times this: values below are not brought to full colour, since they say nothing."""
FOR, AGAINST = (33, 113, 221), (222, 110, 0)
"""Colours that are told apart whatever one sees; the same in light and in dark."""
POINTS = 480
"""Points of a drawn signal."""
CHANNELS = 6
"""Channels of a signal that are drawn."""
LEAST = 256
"""Pixels to which small pictures are enlarged by the page."""


def figure(found: Found, one: Inside) -> str:
    """The parts of an input in colour."""
    most = max([abs(value) for value in one.values], default=0.0)
    scale = max(most, FAINT * found.output.unit)
    parts: Parts = one.parts
    if isinstance(parts, TextParts):
        return _text(found, parts, scale)
    if isinstance(parts, Picture):
        return _picture(parts, scale)
    if isinstance(parts, Curve):
        return _curve(found, parts, scale)
    return _columns(found, parts)


def _text(found: Found, parts: TextParts, scale: float) -> str:
    """Spans without padding: letters of Arabic stay joined, and a line breaks where it would."""
    pieces, last = [], 0
    for (start, end), value in sorted(zip(parts.spans, parts.values, strict=True)):
        first = max(start, last)  # tokens of bytes may share a letter
        if first >= end:
            continue
        pieces.append(escape(parts.text[last:first]))
        share = min(abs(value) / scale, 1)
        kind = "for" if value > 0 else "against"
        tip = f"{words.change(found, value)}"
        pieces.append(
            f'<span class="{kind}" style="--a:{share:.2f}" title="{tip}">{escape(parts.text[first:end])}</span>'
        )
        last = end
    pieces.append(escape(parts.text[last:]))
    return f'<p class="text" dir="auto">{"".join(pieces)}</p>'


def _picture(parts: Picture, scale: float) -> str:
    """The picture, and beside it in grey under the heat map."""
    height, width = parts.pixels.shape[1:]
    plain = _png(_image(parts.pixels))
    heat = _png(Image.fromarray(_heat(parts.grid, scale), "RGBA"))
    side = f"aspect-ratio:{width}/{height};width:min(100%,{max(LEAST, min(width, 420))}px)"
    sharp = ' class="sharp"' if max(height, width) < LEAST else ""
    return (
        f'<div class="pictures"><figure><div class="picture" style="{side}"><img{sharp} alt="as the model reads it" '
        f'src="{plain}"></div><figcaption>as the model reads it, {width} x {height} pixels</figcaption></figure>'
        f'<figure><div class="picture under" style="{side}"><img{sharp} alt="the same in grey" src="{plain}">'
        f'<img class="over" alt="heat map of what each place gives" src="{heat}"></div>'
        f"<figcaption>what each place gives</figcaption></figure></div>"
    )


def _image(pixels: Tensor) -> Image.Image:
    """Of uint8 [C H W], C being 1 or 3."""
    values = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else np.ascontiguousarray(values))


def _heat(grid: Tensor, scale: float) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """[R K 4] uint8: the colour by the sign, the opacity by the size."""
    share = (grid.abs() / scale).clamp(max=1)
    colours = torch.where((grid > 0)[..., None], torch.tensor(FOR), torch.tensor(AGAINST))
    opacity = (share * 215).round()[..., None]
    return torch.cat([colours, opacity], -1).to(torch.uint8).numpy()


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _curve(found: Found, parts: Curve, scale: float) -> str:
    """Channels one below the other, over bands in colour."""
    signal = parts.signal[:, :CHANNELS].double()
    high, width, gap = 90 if signal.shape[1] == 1 else 54, 640, 6
    total = signal.shape[1] * (high + gap) + 16
    bands = []
    for start, end, value in zip(parts.edges, parts.edges[1:], parts.values, strict=False):
        share = min(abs(value) / scale, 1)
        if share < 0.01:
            continue
        left, right = (width * edge / parts.length for edge in (start, end))
        tip = f"<title>{between(parts, start, end)}: {words.change(found, value)}</title>"
        kind = "for" if value > 0 else "against"
        bands.append(
            f'<rect class="{kind}" style="--a:{share:.2f}" x="{left:.1f}" y="0" width="{right - left:.1f}" '
            f'height="{total - 16}">{tip}</rect>'
        )
    lines = [_line(signal[:, c], width, high, c * (high + gap)) for c in range(signal.shape[1])]
    last = f"{parts.length:.2f} s" if parts.unit == "s" else f"{parts.length:.0f} steps"
    marks = f'<text x="0" y="{total - 3}">0</text><text x="{width}" y="{total - 3}" text-anchor="end">{last}</text>'
    more = parts.signal.shape[1] - signal.shape[1]
    note = f'<p class="note">{more} more channels are not drawn; bands are sums over all of them.</p>' if more else ""
    return (
        f'<svg class="curve" viewBox="0 0 {width} {total}" role="img" aria-label="the signal, coloured by what each '
        f'part gives">{"".join(bands)}{"".join(lines)}{marks}</svg>{note}'
    )


def _line(values: Tensor, width: int, high: int, top: int) -> str:
    """A channel [T'] as a line; of a long one the least and the greatest of each part."""
    low, most = float(values.min()), float(values.max())
    room = (most - low) or 1.0
    if len(values) > POINTS:
        cuts = [place * len(values) // (POINTS // 2) for place in range(POINTS // 2 + 1)]
        pairs = [(start, values[start:end]) for start, end in itertools.pairwise(cuts)]
        points = [(start, float(edge)) for start, part in pairs for edge in (part.min(), part.max())]
    else:
        points = [(place, float(value)) for place, value in enumerate(values)]
    last = max(len(values) - 1, 1)
    path = " ".join(f"{width * x / last:.1f},{top + 3 + (high - 6) * (1 - (y - low) / room):.1f}" for x, y in points)
    return f'<polyline points="{path}"/>'


def _columns(found: Found, parts: Columns) -> str:
    order = sorted(range(len(parts.names)), key=lambda place: -abs(parts.values[place]))
    rows = [
        (
            parts.names[place],
            words.cell(parts.cells[place]),
            words.change(found, parts.values[place]),
            parts.values[place],
        )
        for place in order
    ]
    return bars(("column", "cell", "gives"), rows)


MIDDLE = '<span class="middle"></span>'


def bars(heads: Sequence[str], rows: Sequence[tuple[str, str, str, float | None]], *, shares: bool = False) -> str:
    """A table with a bar in each row: to the right for what speaks for the output, to the left for what speaks against.

    Args:
        heads: of the three columns of text.
        rows: a name, a note, a figure, and its value; None draws no bar.
        shares: the values speak neither for nor against; all bars begin at the left.
    """
    most = max([abs(value) for *_, value in rows if value is not None], default=0.0) or 1.0
    lines = []
    for name, note, text, value in rows:
        share = (100 if shares else 50) * abs(value or 0) / most
        kind, side = ("for", "left:50%") if (value or 0) > 0 else ("against", "right:50%")
        kind, side = ("share", "left:0") if shares else (kind, side)
        bar = f'<span class="{kind}" style="--a:.9;{side};width:{share:.1f}%"></span>' if share else ""
        lines.append(
            f'<tr><th scope="row" dir="auto">{escape(name)}</th><td dir="auto">{escape(note)}</td>'
            f'<td class="figure">{escape(text)}</td><td class="bar">{"" if shares else MIDDLE}{bar}</td></tr>'
        )
    head = "".join(f'<th scope="col"{" class=figure" if at == 2 else ""}>{h}</th>' for at, h in enumerate(heads))
    hidden = '<td class="bar" aria-hidden="true"></td>'
    return f"<table><thead><tr>{head}{hidden}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
