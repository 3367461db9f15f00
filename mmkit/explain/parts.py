"""What an explanation holds: contributions of inputs, and of the parts inside each.

Axes: T tokens or segments, C channels, H height, W width, R rows and K columns of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


class Contribution(NamedTuple):
    """What an input gave to the answer.

    Args:
        name: of the input.
        modality: of it.
        value: in the units of the output; None where the input is missing, which gives nothing.
        error: its standard error; None where the value is exact.
    """

    name: str
    modality: str
    value: float | None
    error: float | None


class TextParts(NamedTuple):
    """Attributions of the tokens of a text.

    Args:
        text: whole.
        spans: [T], start and end of each token in it; they may have gaps.
        values: [T].
    """

    text: str
    spans: list[tuple[int, int]]
    values: list[float]


class Picture(NamedTuple):
    """Attributions of the cells of a grid over a picture.

    Args:
        pixels: uint8 [C H W], the picture as the model reads it.
        grid: [R K].
    """

    pixels: Tensor
    grid: Tensor


class Curve(NamedTuple):
    """Attributions of the segments of a series or a sound.

    Args:
        signal: [T' C], the values over which the segments lie.
        edges: [T + 1], where segments begin and end, from 0 to `length`.
        values: [T].
        length: of what was read, in steps or in seconds.
        unit: "steps" or "s".
    """

    signal: Tensor
    edges: list[float]
    values: list[float]
    length: float
    unit: str


def between(parts: Curve, start: float, end: float) -> str:
    """A stretch of a signal in words."""
    return f"{start:.2f} to {end:.2f} s" if parts.unit == "s" else f"steps {start:.0f} to {end:.0f}"


class Columns(NamedTuple):
    """Attributions of the columns of a row.

    Args:
        names: of the columns.
        cells: as they are; None is an empty one.
        values: of each.
    """

    names: list[str]
    cells: list[Any]
    values: list[float]


Parts = TextParts | Picture | Curve | Columns


@dataclass(frozen=True)
class Inside:
    """Which parts of an input speak for the answer; a mean over which other inputs are there, as contributions are.

    Args:
        parts: with an attribution of each, in the units of the output.
        method: "integrated gradients" or "occlusion".
        against: what the input is compared with, in words.
        reason: why it is occlusion; empty where there are gradients.
        gained: what the input gives beyond what it is compared with; None for occlusion, which promises no sum. The
            contribution of the input is this, and what that gives beyond a missing input.
        gap: by how much the sum of all attributions misses `gained`; None for occlusion.
        steps: of the integral; of occlusion, how often the input was changed.
    """

    parts: Parts
    method: str
    against: str
    reason: str
    gained: float | None
    gap: float | None
    steps: int

    @property
    def values(self) -> list[float]:
        """All attributions."""
        if isinstance(self.parts, Picture):
            found: list[float] = self.parts.grid.flatten().tolist()
            return found
        return self.parts.values


class Detail(NamedTuple):
    """What a component says of itself on an input.

    Args:
        kind: "attention", "gate", "weight", or another.
        name: of the input.
        value: one number: of attention the share that the input gets, else the mean.
        tokens: [T], what each of its tokens gets; None where it is not by token.
    """

    kind: str
    name: str
    value: float
    tokens: Sequence[float] | None
