"""A prediction from all inputs together, beside those of each.

Axes: B batch, D an input's width, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.vectors import joined


class JointHead(nn.Module):
    """Linear, relu, linear over the joined vectors; a missing input adds nothing to the first.

    Args:
        widths: D of each input, by name.
        hidden: width between.
        size: C.
    """

    def __init__(self, widths: Mapping[str, int], hidden: int, size: int) -> None:
        super().__init__()
        self.inputs = tuple(widths)
        self.first = nn.Linear(sum(widths.values()), hidden)
        self.second = nn.Linear(hidden, size)

    def forward(self, features: Mapping[str, Features]) -> Tensor:
        """[B C]."""
        return self.of(joined(features, self.inputs))

    def of(self, vectors: Tensor) -> Tensor:
        """[B C], of the joined vectors [B D+D+...]."""
        out: Tensor = self.second(self.first(vectors).relu())
        return out
