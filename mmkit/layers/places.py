"""The places within encoders at which a fusion acts, from its option `at`.

Places are counted from the end: at 1 are the features of the encoders, at 2 is what stands before their last part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import nn

At = Literal["last", "all"] | tuple[int, ...]


def places_named(at: At, inner: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The places, the one that is farthest from the end first.

    Args:
        at: "last" is place 1, "all" every one at which two inputs meet, or some of them by number.
        inner: the widths within each encoder.

    Raises:
        ValueError: a place that no encoder has.

    >>> places_named("all", {"image": (16, 32), "sound": (64,), "title": ()})
    (3, 2, 1)
    """
    deepest = 1 + max((len(widths) for widths in inner.values()), default=0)
    if at == "last":
        return (1,)
    if at == "all":
        return tuple(place for place in range(deepest, 0, -1) if place == 1 or len(shown(place, inner)) > 1)
    if not at or any(not 1 <= place <= deepest for place in at):
        raise ValueError(f"at {list(at)}: these encoders have the places 1 to {deepest}, counted from the end")
    return tuple(sorted(set(at), reverse=True))


def within(fusion: nn.Module) -> tuple[int, ...]:
    """The places within encoders at which a fusion acts; empty for most."""
    return tuple(place for place in getattr(fusion, "places", ()) if place > 1)


def shown(place: int, inner: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The inputs whose features are shown at a place: of those that have it, and of those that have none at all."""
    return tuple(name for name, widths in inner.items() if not widths or len(widths) >= place - 1)


def width_at(place: int, width: int, inner: tuple[int, ...]) -> int:
    """The width of an input's features at a place that shows it; its own where it has no places."""
    return width if place == 1 or not inner else inner[1 - place]
