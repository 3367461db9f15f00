"""A table as text, and figures as the text of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmkit.report.labels import plain
from mmkit.report.summary import Spread
from mmkit.report.values import written


@dataclass(frozen=True)
class Sheet:
    """A table as text.

    Args:
        title: above it.
        names: titles of the columns of names, which may be broken where there is no room.
        figures: titles of the columns of figures, which are never broken; they may have several lines.
        lines: a text of each column, names first.
        whole: for each line its label in full; empty where the names are that.
        numbered: whether rows have numbers, since names are shortened or figures are told by the number of a row.
    """

    title: str
    names: list[str]
    figures: list[str]
    lines: list[list[str]]
    whole: list[str] = field(default_factory=list)
    numbered: bool = False

    def legend(self) -> list[str]:
        """The full label of each row."""
        return [plain(text) for text in self.whole or ["  ".join(line[: len(self.names)]) for line in self.lines]]


def share(value: float | None) -> str:
    """A share of 1 in per cent."""
    return "-" if value is None else f"{100 * value:.1f}"


def between(interval: tuple[float, float] | None) -> str:
    """The 95 % interval of a share, behind it; nothing without one."""
    return "" if interval is None else f" [{share(interval[0])}, {share(interval[1])}]"


def independent(factors: Sequence[str], what: str = "samples") -> str:
    """What intervals take as independent: the groups of factors, or where there are none what is measured.

    >>> independent(["speaker"]), independent(["group"]), independent([], "queries")
    ('groups by speaker', 'groups', 'queries')
    """
    named = " and ".join(name for name in factors if name != "group")
    return f"groups{f' by {named}' if named else ''}" if factors else what


def spread_of(spread: Spread | None, metric: str) -> str:
    """Mean and standard deviation of a metric as text."""
    if spread is None:
        return "-"
    mean = written(spread.mean, metric)
    return mean if spread.std is None else f"{mean} ± {written(spread.std, metric)}"


def count_of(value: float | None) -> str:
    """A count in three digits, with k, M, G or T.

    >>> count_of(999.6), count_of(1.2e12)
    ('1k', '1.2T')
    """
    if value is None:
        return "-"
    value = float(f"{value:.3g}")  # three digits may be those of the next unit
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def bytes_of(value: int | None) -> str:
    """Bytes in MiB or GiB."""
    if value is None:
        return "-"
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.1f} MiB"
