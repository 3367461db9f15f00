"""Conditions that a comparison must not meet: `time>5%`, `accuracy<-1`.

A change meets a condition for sure when its whole interval lies beyond the limit, and does not when the whole interval
lies on this side of it. Else the runs are too few or the machine too noisy to tell. With several combinations and
conditions, one may go beyond its limit by chance, so the interval that proves it is wider, by Bonferroni: that any
condition is called broken though none is happens in at most 5 % of comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from mmkit.errors import UsageError, one_of
from mmkit.report.changes import SIZES, TIMES, Change
from mmkit.report.paired import LEVEL
from mmkit.report.values import is_share

Outcome = Literal["kept", "broken", "unclear"]
_ALARMS = 0.05
"""The share of comparisons in which a condition may be called broken though none is."""
_FORM = re.compile(r"\s*([a-z0-9_]+)\s*([<>])\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*(%?)\s*")


def level_of(checks: int) -> float:
    """The level of the interval that proves a condition broken: of its two ends one alone counts."""
    return min(LEVEL, 2 * _ALARMS / checks)


@dataclass(frozen=True)
class Condition:
    """A limit of a change, and the side beyond which it fails.

    Args:
        text: as it was given.
        quantity: a metric, a time or a size.
        above: whether a change above the limit fails; else one below it.
        limit: in units of the change: of shares 0.01 is a point, of relative changes 0.05 is 5 %.
    """

    text: str
    quantity: str
    above: bool
    limit: float

    @staticmethod
    def of(text: str, metrics: Collection[str]) -> Condition:
        """The condition that a text describes.

        Args:
            text: NAME<NUMBER or NAME>NUMBER; of times and sizes the number is in percent.
            metrics: the names of the metrics that there are.

        Raises:
            UsageError: it has another form, or names nothing that is compared.
        """
        if (found := _FORM.fullmatch(text)) is None:
            raise UsageError(
                f'--fail-if takes a name, < or >, and a number, such as "time>5%" or "accuracy<-1"; got {text!r}'
            )
        name, side, number, percent = found.groups()
        possible = {*metrics, *TIMES, *SIZES}
        if name not in possible:
            raise UsageError(f"--fail-if {text!r}: nothing is compared that is called {name}; {one_of(possible, name)}")
        relative = name in {*TIMES, *SIZES}
        if relative != bool(percent):
            in_units = "points" if is_share(name) else "its own units"
            how = f"in percent, as {name}{side}{number}%" if relative else f"in {in_units}, as {name}{side}{number}"
            raise UsageError(f"--fail-if {text!r}: {name} is compared {how}")
        limit = float(number) / 100 if relative or is_share(name) else float(number)
        return Condition(text, name, side == ">", limit)

    def outcome(self, change: Change, checks: int = 1) -> Outcome:
        """Whether a change keeps the condition.

        Args:
            change: of its quantity.
            checks: how many combinations and conditions are looked at together.
        """
        if change.same:
            beyond = self.limit < 0 if self.above else self.limit > 0
            return "broken" if beyond else "kept"
        wide, usual = change.interval(level_of(checks)), change.interval()
        if wide is None or usual is None:
            return "unclear"
        if wide[0] > self.limit if self.above else wide[1] < self.limit:
            return "broken"
        within = usual[1] <= self.limit if self.above else usual[0] >= self.limit
        return "kept" if within else "unclear"


@dataclass(frozen=True)
class Check:
    """A condition on one combination.

    Args:
        condition: what it must not meet.
        combination: its name.
        outcome: "broken" where it surely meets it, "kept" where it surely does not, else "unclear".
        why: what there is to say of it.
    """

    condition: Condition
    combination: str
    outcome: Outcome
    why: str


def exit_code(checks: Sequence[Check]) -> int:
    """0 where all conditions are kept, 1 where one is broken, else 5."""
    outcomes = {check.outcome for check in checks}
    return 1 if "broken" in outcomes else 5 if "unclear" in outcomes else 0
