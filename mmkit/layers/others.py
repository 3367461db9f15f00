"""One input apart from all others, for fusions that are not symmetric: the anchor, and what speaks of it.

Axes: B batch, D an input's width.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmkit.layers.vectors import Inputs, joined


class Others:
    """The join of all inputs but the anchor.

    Args:
        widths: D of each input, by name.
        anchor: name of the anchor; None is the first input.

    Attributes:
        anchor: its name.
        names: those of the others, in their order.
        width: of the join.

    Raises:
        ValueError: `anchor` is no input, or there is none beside it.

    >>> others = Others({"image": 512, "note": 64, "title": 256}, "note")
    >>> others.names, others.width
    (('image', 'title'), 768)
    """

    def __init__(self, widths: Mapping[str, int], anchor: str | None = None) -> None:
        if anchor is not None and anchor not in widths:
            raise ValueError(f"anchor {anchor} is no input; there are {', '.join(widths)}: name one of them")
        if len(widths) < 2:
            raise ValueError(f"an anchor needs another input beside it; got {len(widths)} ({', '.join(widths)})")
        self.anchor = next(iter(widths)) if anchor is None else anchor
        self.names = tuple(name for name in widths if name != self.anchor)
        self.width = sum(widths[name] for name in self.names)

    def __call__(self, features: Inputs) -> Tensor:
        """[B D+D+...]: the vectors of the others one after the other, zero where one is missing."""
        return joined(features, self.names)
