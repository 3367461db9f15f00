"""Changes as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.report.changes import SIZES, TIMES, Change
from mmkit.report.paired import LEVEL
from mmkit.report.sheet import Sheet, count_of
from mmkit.report.summary import Cell
from mmkit.report.values import is_share, written
from mmkit.titles import title_of

NAMED = 3
"""Combinations that a sentence names; of more it gives the number."""
_NAMES = {
    "time": "time of a prediction",
    "train_time": "time of a training step",
    "parameters": "parameters",
    "flops": "FLOPs a sample",
}
_WORDS = {"better": "faster", "worse": "slower"}


def told(quantity: str) -> str:
    """A quantity in words."""
    return _NAMES.get(quantity) or title_of(quantity)


def listed(texts: Sequence[str], between: str = ", ") -> str:
    """The first few texts, and how many more there are."""
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return between.join(texts[:NAMED]) + more


def as_line(change: Change) -> dict[str, Cell]:
    """A change as plain values; of times `a` and `b` are seconds a sample, and changes are shares of A."""
    low, high = change.interval() or (None, None)
    return {
        "combination": change.combination,
        "quantity": change.quantity,
        "a": change.a,
        "b": change.b,
        "change": change.change,
        "low": low,
        "high": high,
        "finding": change.finding,
        "seeds": change.seeds,
        "samples": change.samples,
        "paired": change.paired,
    }


def as_words(change: Change, level: float = LEVEL) -> str:
    """A change with its interval, in words.

    Args:
        change: what to say.
        level: one minus the confidence of the interval.
    """
    if change.same:
        return "the same"
    found = change.interval(level)
    size = _signed(change, change.change)
    if found is None:
        return f"{size}, {change.difference.unknown}"
    if found[0] == found[1]:
        return size
    return f"{size}, {_between(change, found)}"


def sheet_of(quantity: str, changes: Sequence[Change]) -> Sheet:
    """A table of one quantity, a line a combination."""
    timed, sized = quantity in TIMES, quantity in SIZES
    lines = []
    for change in changes:
        found = None if change.same else change.interval()
        interval = "" if sized or change.same else "not known" if found is None else _range(change, found)
        word = _WORDS.get(change.finding, change.finding) if timed else change.finding
        sides = [_value(change, side) for side in (change.a, change.b)]
        moved = "0" if change.same else _signed(change, change.change)
        lines.append([change.combination, *sides, moved, interval, word])
    unit = "\nsamples/s" if timed else ""
    what = "change\nof time" if timed else "change"
    titles = [f"A{unit}", f"B{unit}", what, "95 % interval", "B is"]
    if sized:
        titles, lines = [*titles[:3], titles[4]], [[*line[:4], line[5]] for line in lines]
    return Sheet(_title(quantity), ["combination"], titles, lines)


def said(quantity: str, changes: Sequence[Change]) -> str:
    """A sentence about one quantity of all combinations."""
    parts = []
    for finding in ("worse", "better"):
        if found := [change for change in changes if change.finding == finding]:
            verb = "is" if len(found) == 1 else "are"
            word = _WORDS[finding] if quantity in TIMES else finding
            parts.append(f"{listed([f'{one.combination} ({as_words(one)})' for one in found])} {verb} {word}")
    if same := [change for change in changes if change.same]:
        parts.append("the same" if len(changes) == 1 else f"{len(same)} of {len(changes)} the same")
    if unclear := [change for change in changes if change.finding == "unclear"]:
        which = f"{len(unclear)} of {len(changes)}"
        if len(changes) == 1:
            which = f"{unclear[0].combination} ({as_words(unclear[0])})"
        parts.append(f"{which} cannot be told apart")
    return f"{told(quantity)[0].upper()}{told(quantity)[1:]}, B against A: {'; '.join(parts)}."


def _title(quantity: str) -> str:
    title = f"{told(quantity)[0].upper()}{told(quantity)[1:]}"
    if quantity in TIMES:
        return f"{title}, by each side's A/A twin"
    if quantity in SIZES:
        return title
    return f"{title} on test{', in points' if is_share(quantity) else ''}: mean over seeds"


def _value(change: Change, value: float) -> str:
    if change.quantity in TIMES:
        return count_of(1 / value)
    return count_of(value) if change.quantity in SIZES else written(value, change.quantity)


def _signed(change: Change, value: float) -> str:
    """A change with its sign: in percent, in points or in units."""
    if not (change.relative or is_share(change.quantity)):
        return f"{value:+.3g}" if value else "0"
    text = f"{100 * value:+.1f}"
    text = "0.0" if float(text) == 0 else text
    return f"{text} %" if change.relative else text


def _range(change: Change, found: tuple[float, float]) -> str:
    low, high = (_signed(change, end) for end in found)
    return f"{low.removesuffix(' %')} to {high}"


def _between(change: Change, found: tuple[float, float]) -> str:
    low, high = (_signed(change, end) for end in found)
    return f"between {low.removesuffix(' %')} and {high}"
