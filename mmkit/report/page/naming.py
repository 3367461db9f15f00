"""Names beside the points of a chart, where they hide nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmkit.report.page.drawing import ACCENT, INK
from mmkit.report.page.measured import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 14
"""Points that have their names beside them; of more the chart has numbers."""
LONG = 30
"""Letters of a name in a chart."""
NARROW = 16
"""Letters of a name in a chart for a phone."""
_LETTER = 5.6
"""Width of a letter in units."""
_LINE = 12.0
"""Height of a line in units."""


def short(name: str, letters: int = LONG) -> str:
    """A name as a chart has room for it."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def name_points(
    axes: Axes,
    known: Sequence[Measured],
    size: float,
    chosen: int,
    line: Sequence[tuple[float, float]],
    *,
    narrow: bool,
) -> None:
    """Names beside points, each where it is clear of points, of other names, of the line and of the edge.

    Args:
        axes: that the points are in.
        known: what is measured, a point each.
        size: by which scores are multiplied.
        chosen: the number of the row that is proposed.
        line: the corners of the line through the front.
        narrow: for a phone.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101 (these axes are in one)
    figure.draw_without_rendering()  # so that places are known
    box = axes.get_window_extent()
    scale = 72 / figure.dpi
    places = [
        [scale * each for each in axes.transData.transform((one.milliseconds or 0, size * (one.score or 0)))]
        for one in known
    ]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for (x0, y0), (x1, y1) in itertools.pairwise(scale * axes.transData.transform(line)):
        steps = int(max(abs(x1 - x0), abs(y1 - y0)) // 4) + 1
        along = [(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps) for step in range(steps)]
        taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in along]
    for one, (x, y) in zip(known, places, strict=True):
        for low, high in filter(None, [one.quartiles]):
            ends = [scale * axes.transData.transform((end, 1))[0] for end in (low, high)]
            taken.append((ends[0], y - 1.5, ends[1], y + 1.5))
        for low, high in filter(None, [one.interval]):
            ends = sorted(
                scale * axes.transData.transform((one.milliseconds or 1, size * end))[1] for end in (low, high)
            )
            taken.append((x - 1.5, ends[0], x + 1.5, ends[1]))
    frame = (scale * box.x0, scale * box.y0, scale * box.x1, scale * box.y1)
    for one, (x, y) in sorted(zip(known, places, strict=True), key=lambda pair: pair[0].number != chosen):
        text = short(one.name, NARROW if narrow else LONG) if len(known) <= NAMED else str(one.number)
        width = _LETTER * len(text)
        best, least = (x + 9, y - _LINE / 2), math.inf
        shifts = itertools.product((9, -9 - width, -width / 2), (0, 11, -11, 18, -18, 28, -28, 40, -40))
        for rank, (dx, dy) in enumerate(shifts):
            if abs(dx) > 9 and dx != -9 - width and abs(dy) < 11:
                continue  # on the point
            corner = (x + dx, y + dy - _LINE / 2)
            mine = (*corner, corner[0] + width, corner[1] + _LINE)
            outside = mine[0] < frame[0] or mine[2] > frame[2] + 30 or mine[1] < frame[1] or mine[3] > frame[3]
            cost = sum(_shared(mine, other) for other in taken) + 1000 * outside + 0.3 * rank + 0.4 * abs(dy)
            if cost < least:
                best, least = corner, cost
        taken.append((*best, best[0] + width, best[1] + _LINE))
        axes.annotate(
            text,
            (one.milliseconds or 0, size * (one.score or 0)),
            (best[0] - x, best[1] - y + 2.5),
            textcoords="offset points",
            color=ACCENT if one.number == chosen else INK,
            fontweight="bold" if one.number == chosen else "normal",
            annotation_clip=False,
        )


def _shared(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(high, 0)
