"""What differences of speed a suite can see: every model was timed twice in its rounds, beside itself (A/A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmkit.report.summary import Row

WHAT: tuple[tuple[Literal["inference", "train"], str], ...] = (
    ("inference", "predictions"),
    ("train", "training steps"),
)


@dataclass(frozen=True)
class Sight:
    """What can be seen of one kind of time, over all rows.

    Args:
        what: is timed.
        apart: how far a model and itself came apart at most, as a share.
        visible: the smallest relative difference that is found in four of five cases, of the row that shows least;
            None where there were too few rounds.
        clear: whether no model was called different from itself by more than two percent.
        compiled: whether training ran compiled what was timed as it is.
    """

    what: str
    apart: float
    visible: float | None
    clear: bool
    compiled: bool = False

    def sentence(self) -> str:
        """In words."""
        apart = f"{percent(self.apart)} from itself at most"
        how = " (as they are; those of the trainings were compiled)" if self.compiled else ""
        told = f"Speed of {self.what}{how}: each model was timed twice (A/A), and came out {apart} over all rounds"
        if self.visible is None:
            return f"{told}; with fewer than six rounds no difference between rows can be told from chance."
        seen = f"differences between rows that are smaller than {percent(self.visible)} cannot be seen"
        return f"{told}; single rounds lay further apart, by which {seen}."


def sights(found: Sequence[Row]) -> list[Sight]:
    """What can be seen, of predictions and of training steps; empty where speed was not measured."""
    said = []
    for kind, what in WHAT:
        twins = [row.speed.twins[kind] for row in found if row.speed and kind in row.speed.twins]
        if not twins:
            continue
        seen = [twin.visible for twin in twins if twin.visible is not None]
        clear = all(
            twin.low is None or twin.high is None or (twin.low <= MARGIN and twin.high >= 1 / MARGIN) for twin in twins
        )
        visible = max(seen) if len(seen) == len(twins) else None
        compiled = kind == "train" and any(
            record.run.get("training", {}).get("compile", False) for row in found for record in row.trainings
        )
        said.append(Sight(what, max(abs(twin.ratio - 1) for twin in twins), visible, clear, compiled))
    return said


MARGIN = 1.02
"""The ratio of two times of one program that its place in memory may make."""


def percent(share: float) -> str:
    """A share in percent, with one digit below ten."""
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"
