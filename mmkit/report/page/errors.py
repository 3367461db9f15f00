"""The worst errors of a row with their samples, over its trainings; pictures are put into the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from mmkit.records.worst import WrongAnswer, picture, read_worst
from mmkit.report.page.folder import Folder
from mmkit.report.summary import Row

MOST = 12
"""Errors that are shown."""
ROOM = 900_000
"""Letters that pictures take in a page, at most."""


@dataclass
class ShownError:
    """One sample that a row got wrong.

    Args:
        one: of the training with the greatest loss.
        often: in how many trainings it is among the worst.
        of: how many trainings tested it.
        losses: of those.
        pictures: by input, ready to be embedded.
    """

    one: WrongAnswer
    often: int
    of: int
    losses: list[float]
    pictures: dict[str, list[str]] = field(default_factory=dict)

    def curves(self, name: str) -> list[str]:
        """The outlines of the curves of an input, as points of a polygon in 200 x 40."""
        shown = self.one.inputs[name]
        return [_outline(low, high) for low, high in zip(shown.low, shown.high, strict=True)]


def worst_of(folder: Folder, row: Row) -> list[ShownError]:
    """What a row got wrong, the samples first that most of its trainings have among their worst.

    Raises:
        DataError: a file is not what was written.
    """
    trainings = {record.id: record for record in row.trainings}
    found: dict[tuple[int, str], list[WrongAnswer]] = {}
    kept = read_worst(folder.path, list(trainings))
    for one in kept:
        fold = trainings[one.run].fold
        for error in one.errors:
            found.setdefault((fold.number if fold else 0, error.id), []).append(error)
    folds = [record.fold.number if (record := trainings[one.run]).fold else 0 for one in kept]
    shown = [
        ShownError(max(several, key=_loss), len(several), folds.count(fold), [one.loss for one in several])
        for (fold, _), several in found.items()
    ]
    shown.sort(key=lambda one: (-one.often / one.of, -sum(one.losses) / len(one.losses)))
    room = ROOM
    for entry in shown[:MOST]:
        for name, value in entry.one.inputs.items():
            ready = [_embedded(folder, file) for file in value.pictures]
            if ready and sum(map(len, ready)) <= room:
                room -= sum(map(len, ready))
                entry.pictures[name] = ready
    return shown[:MOST]


def _loss(error: WrongAnswer) -> float:
    return error.loss


def _embedded(folder: Folder, file: str) -> str:
    kind = "png" if file.endswith(".png") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture(folder.path, file)).decode()}"


def _outline(low: Sequence[float], high: Sequence[float]) -> str:
    """The upper edge from left to right, then the lower one back."""
    bottom, top = min(low), max(high)
    size = (top - bottom) or 1.0
    step = 200 / max(len(low) - 1, 1)
    edge = [(at * step, value) for at, value in enumerate(high)]
    edge += [(at * step, value) for at, value in reversed(list(enumerate(low)))]
    return " ".join(f"{x:.1f},{40 - 40 * (value - bottom) / size:.1f}" for x, value in edge)
