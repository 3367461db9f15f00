"""What predictions of the chosen fusion cost in detail, as tables: inputs, parts, batch sizes, modes."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.records.breakdown import Breakdown, Closure, Saving
from mmkit.report.inputs import contribution
from mmkit.report.labels import plain
from mmkit.report.sheet import Sheet, bytes_of, count_of, spread_of
from mmkit.report.sight import percent
from mmkit.report.summary import Row

ENDS = {
    "saturated": "more brought no more",
    "memory": "memory would not have sufficed for more",
    "time": "a batch took too long for more",
    "largest": "more was not tried",
}
"""Why a sweep ended, in words."""


def broken_down(found: Sequence[Row]) -> tuple[Row, Breakdown] | None:
    """The row whose predictions were measured in detail, and what was found; None where none was."""
    for row in found:
        for record in row.trainings:
            if record.breakdown is not None:
                return row, record.breakdown
    return None


def details(found: Sequence[Row]) -> list[Sheet]:
    """All tables; empty where nothing was measured in detail."""
    known = broken_down(found)
    if known is None:
        return []
    row, breakdown = known
    sheets = [_savings(row, breakdown), _parts(row, breakdown)]
    if breakdown.sweep is not None:
        sheets.append(_sizes(row, breakdown))
    return [*sheets, *([_modes(row, breakdown)] if breakdown.modes else [])]


def _savings(row: Row, breakdown: Breakdown) -> Sheet:
    lines = [
        [
            plain(one.input),
            spread_of(contribution(row, one.input), row.metric),
            "-" if one.reason else _saved(one),
            "-" if one.reason else f"{100 * one.share:.0f} %",
            "-" if one.reason else count_of(one.parameters),
            _memory(one.memory_bytes),
        ]
        for one in breakdown.savings
    ]
    title = (
        f"What leaving out an input of {plain(row.fusion)} saves, of {time_of(breakdown.ms)} a sample, beside what it "
        "contributes"
    )
    title += "".join(f"; {plain(one.input)}: {plain(one.reason)}" for one in breakdown.savings if one.reason)
    figures = ["contribution", "time\na sample", "share\nof time", "parameters", "memory of\ntraining"]
    return Sheet(title, ["input"], figures, lines)


def _saved(one: Saving) -> str:
    if one.low is None or one.high is None:
        return time_of(one.ms)
    size, _ = unit_of(one.ms)
    return f"{time_of(one.ms)} ({size * one.low:.3g} to {size * one.high:.3g})"


def _memory(count: int | None) -> str:
    if count is None or count >= 0:
        return bytes_of(count)
    return f"-{bytes_of(-count)}"


def _parts(row: Row, breakdown: Breakdown) -> Sheet:
    whole = sum(part.ms for part in breakdown.parts)
    lines = [
        [
            plain(part.name),
            time_of(part.ms),
            f"{100 * part.ms / whole:.0f} %" if whole else "-",
            count_of(part.parameters) if part.parameters else "-",
        ]
        for part in breakdown.parts
    ]
    title = f"Parts of a prediction by {plain(row.fusion)}, {breakdown.batch_size} samples at once: "
    figures = ["time\na sample", "share\nof all", "parameters"]
    return Sheet(title + closure_of(breakdown.closure), ["part"], figures, lines)


def closure_of(closure: Closure) -> str:
    """Whether parts add up, in words."""
    sum_of = f"they add up to {100 * closure.ratio:.1f} % of the whole"
    if closure.noise is None or closure.low is None or closure.high is None:
        return f"{sum_of}; too few rounds to say whether that closes"
    told = (
        f"{sum_of} ({100 * closure.low:.1f} to {100 * closure.high:.1f}), which by itself comes out up to "
        f"{percent(closure.noise)} apart (A/A)"
    )
    return f"{told}: it closes" if closure.closes else f"{told}: it does NOT close, so take them as rough"


def _sizes(row: Row, breakdown: Breakdown) -> Sheet:
    sweep = breakdown.sweep
    assert sweep is not None  # noqa: S101 (the caller has one)
    last = sweep.sizes[-1].size
    lines = [
        [
            f"{one.size:,}",
            count_of(one.samples_per_s),
            f"{count_of(one.low)} to {count_of(one.high)}",
            time_of(1000 * one.size / one.samples_per_s),
            bytes_of(one.memory_bytes),
        ]
        for one in sweep.sizes
    ]
    title = (
        f"Predictions by {plain(row.fusion)} by size of the batch: {sweep.enough:,} samples reach 95 % of the best; up "
        f"to {last:,}, where {ENDS[sweep.end]}"
    )
    return Sheet(title, ["batch"], ["samples/s", "quartiles", "time\na batch", "peak\nmemory"], lines)


def _modes(row: Row, breakdown: Breakdown) -> Sheet:
    lines = [
        [
            one.name,
            count_of(one.samples_per_s),
            "1" if one.ratio is None else _ratio(one.ratio, one.low, one.high),
            "-" if one.difference is None else f"{one.preparing_s:.1f} s",
        ]
        for one in breakdown.modes
        if not one.refused
    ]
    title = f"Ways to execute predictions by {plain(row.fusion)}, {breakdown.batch_size} samples at once"
    title += "".join(f"; not {one.name}: {plain(one.refused)}" for one in breakdown.modes if one.refused)
    return Sheet(title, ["mode"], ["samples/s", "time beside\neager", "ready\nafter"], lines)


def _ratio(ratio: float, low: float | None, high: float | None) -> str:
    return f"{ratio:.2f}" if low is None or high is None else f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def time_of(ms: float) -> str:
    """Milliseconds in three digits, in the unit that suits.

    >>> time_of(999.6), time_of(0.05)
    ('1 s', '50 us')
    """
    size, unit = unit_of(ms)
    return f"{size * ms:.3g} {unit}"


def unit_of(ms: float) -> tuple[float, str]:
    """By what milliseconds are multiplied for the unit that suits, and that unit."""
    ms = float(f"{ms:.3g}")  # three digits may be those of the next unit
    if abs(ms) >= 1000:
        return 0.001, "s"
    return (1.0, "ms") if abs(ms) >= 0.1 else (1000.0, "us")
