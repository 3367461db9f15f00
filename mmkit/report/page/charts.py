"""The charts of a page: score against cost, the seeds of each row, noise in inputs, how honest probabilities are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmkit.records.record import ReliabilityBin
from mmkit.report.curves import Curve
from mmkit.report.page.drawing import ACCENT, INK, PAPER, SECOND, SOFT, canvas
from mmkit.report.page.measured import Measured, pareto
from mmkit.report.page.naming import LONG, NARROW, name_points, short
from mmkit.report.summary import Row
from mmkit.report.values import is_share, written
from mmkit.titles import title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40
"""Rows that a chart shows."""


def against_cost(found: Sequence[Measured], chosen: int, *, narrow: bool = False) -> str:
    """Score on test against the time of a prediction, with intervals on both axes and the Pareto front.

    Args:
        found: the rows; empty text comes of less than two that have both.
        chosen: the number of the row that is proposed.
        narrow: for a phone.
    """
    known = [one for one in found if one.score is not None and one.milliseconds is not None][:MOST]
    if len(known) < 2:
        return ""
    metric = known[0].row.metric
    size = 100 if is_share(metric) else 1
    unit = ", %" if is_share(metric) else ""
    front = pareto(known)
    title = f"{title_of(metric)} on test against the time of a prediction; {len(known)} rows, which the table lists"
    with canvas("narrow-cost" if narrow else "cost", title, *((4.8, 4.6) if narrow else (9.4, 4.9))) as drawn:
        axes = drawn.axes
        axes.grid(visible=True)
        for one in known:
            x, y = one.milliseconds or 0, size * (one.score or 0)
            colour = ACCENT if one.number == chosen else (INK if one in front else SOFT)
            if one.quartiles:
                axes.plot(one.quartiles, [y, y], color=colour, lw=1, solid_capstyle="butt")
            if one.interval:
                axes.plot([x, x], [size * end for end in one.interval], color=colour, lw=1, solid_capstyle="butt")
            face = colour if not one.row.alone else PAPER
            axes.plot(x, y, "o", ms=8 if one.number == chosen else 6, mfc=face, mec=colour, mew=1.5, zorder=3)
        line = [(one.milliseconds or 0, size * (one.score or 0)) for one in front]
        axes.plot(*zip(*line, strict=True), color=ACCENT, lw=1, ls=(0, (4, 3)), zorder=1, alpha=0.8)
        axes.set_xscale("log")
        axes.margins(x=0.3 if narrow else 0.14, y=0.12)
        _ticks(axes, narrow=narrow)
        axes.set_xlabel("milliseconds a sample, in batches")
        axes.set_ylabel(f"{title_of(metric)} on test{unit}")
        if not known[0].row.higher_is_better:
            axes.invert_yaxis()
        name_points(drawn.axes, known, size, chosen, line, narrow=narrow)
    return drawn.svg


def _ticks(axes: Axes, *, narrow: bool) -> None:
    """Plain numbers, at 1, 2 and 5 of each power of ten where there is room, else at 1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 (an extra)

    axis = axes.xaxis
    low, high = axes.get_xlim()
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if decades < (2 if narrow else 4) else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.set_minor_formatter(NullFormatter())


def seeds(found: Sequence[Measured], chosen: int, *, narrow: bool = False) -> str:
    """The score of each seed of each row, its mean, and its interval; empty text where no row has two seeds.

    Args:
        found: the rows.
        chosen: the number of the row that is proposed.
        narrow: for a phone.
    """
    known = [one for one in found if one.seeds][:MOST]
    if not any(len(one.seeds) > 1 for one in known):
        return ""
    metric = known[0].row.metric
    size, unit = (100, ", %") if is_share(metric) else (1, "")
    title = f"{title_of(metric)} on test of each seed, by row; means are {_told(known)}"
    size_of = (4.8 if narrow else 9.4, 0.75 + 0.29 * len(known))
    with canvas("narrow-seeds" if narrow else "seeds", title, *size_of) as drawn:
        axes = drawn.axes
        axes.grid(visible=True, axis="x")
        for place, one in enumerate(known):
            colour = ACCENT if one.number == chosen else INK
            if one.interval:
                axes.plot([size * end for end in one.interval], [place] * 2, color=colour, lw=1.2, zorder=2)
            scores = [size * score for score in one.seeds.values()]
            axes.plot(scores, [place] * len(scores), "o", ms=5.5, mfc=SECOND, mec=PAPER, mew=0.6, zorder=3)
            if one.score is not None:
                axes.plot(size * one.score, place, "|", ms=13, mec=colour, mew=2, zorder=2)
        axes.set_yticks(range(len(known)), [short(one.name, NARROW if narrow else LONG) for one in known])
        for label, one in zip(axes.get_yticklabels(), known, strict=True):
            label.set_color(ACCENT if one.number == chosen else INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_xlabel(f"{title_of(metric)} on test{unit}")
    return drawn.svg


def _told(known: Sequence[Measured]) -> str:
    said = (f"{one.name} {written(one.score, one.row.metric)}" for one in known if one.score is not None)
    return ", ".join(said)


def reliability(bins: Sequence[ReliabilityBin], seeds: int = 1) -> str:
    """How often answers were right by how sure the model was; empty text without bins.

    Args:
        bins: the answers of all seeds.
        seeds: how many answered each sample, which counts once in an interval.
    """
    if not bins:
        return ""
    total = sum(one.answers for one in bins)
    title = "Share of answers that were right by how sure the model was: " + ", ".join(
        f"{100 * one.right:.0f} % of {one.answers} at {100 * one.sure:.0f} %" for one in bins
    )
    with canvas("reliability", title, 4.6, 4.2) as drawn:
        axes = drawn.axes
        axes.grid(visible=True)
        axes.plot([0, 100], [0, 100], color=SOFT, lw=1, zorder=1)
        for one in bins:
            x, y = 100 * one.sure, 100 * one.right
            low, high = wilson(one.right, one.answers / seeds)
            axes.plot([x, x], [100 * low, 100 * high], color=ACCENT, lw=1, zorder=2, alpha=0.8)
            axes.plot(x, y, "o", color=ACCENT, ms=3 + 12 * math.sqrt(one.answers / total), mec=PAPER, zorder=3)
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_aspect("equal")
        axes.set_xlabel("how sure the model was, %")
        axes.set_ylabel("how often it was right, %")
    return drawn.svg


def noise(row: Row, curves: Sequence[Curve], *, narrow: bool = False) -> str:
    """The score by the share of samples that have another sample's value, a line of each input.

    Args:
        row: of the fusion.
        curves: of its inputs, at least one.
        narrow: for a phone.
    """
    metric = row.metric
    size, unit = (100, ", %") if is_share(metric) else (1, "")
    told = "; ".join(
        f"{one.input} " + ", ".join(f"{written(each.score, metric)} at {100 * each.share:.0f} %" for each in one.points)
        for one in curves
    )
    title = f"{title_of(metric)} on test by the share of samples with another sample's value: {told}"
    with canvas("narrow-noise" if narrow else "noise", title, *((4.8, 4.4) if narrow else (9.4, 4.4))) as drawn:
        axes = drawn.axes
        axes.grid(visible=True)
        for at, one in enumerate(curves):
            colour, style, marker = (ACCENT, INK, SECOND)[at % 3], ("-", "--", ":")[at // 3 % 3], "osD^v"[at % 5]
            shift = (at - (len(curves) - 1) / 2) * 0.8  # so that bars of inputs do not hide each other
            x = [100 * each.share + shift for each in one.points]
            y = [size * each.score for each in one.points]
            axes.plot(x, y, color=colour, ls=style, marker=marker, lw=1.6, ms=5, zorder=3)
            for place, each in zip(x, one.points, strict=True):
                if each.low is not None and each.high is not None:
                    axes.plot([place] * 2, [size * each.low, size * each.high], color=colour, lw=1, zorder=2)
        _name_ends(axes, [(short(one.input, NARROW), size * one.points[-1].score) for one in curves])
        axes.set_xlim(-3, 103 + (34 if narrow else 18))
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_xlabel("samples with another sample's value, %")
        axes.set_ylabel(f"{title_of(metric)} on test{unit}")
    return drawn.svg


def _name_ends(axes: Axes, ends: Sequence[tuple[str, float]]) -> None:
    """Names behind the ends of lines, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) / 18
    before = -math.inf
    for name, y in sorted(ends, key=lambda end: end[1]):
        before = max(y, before + gap)
        axes.text(103.5, before, name, va="center", color=INK)


def wilson(share: float, count: float) -> tuple[float, float]:
    """The 95 % interval of a share of independent answers.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)
