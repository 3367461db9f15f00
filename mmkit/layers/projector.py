"""The projector between features and an objective on the statistics of a batch.

Axes: B batch, D an input's width, S width of the projections.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.layers.pairs import standardised, wide


class Projector(nn.Module):
    """Linear, batch normalisation over the rows that are there, relu, linear.

    It normalises by the batch in evaluation, too, as the objectives do that read it.

    Args:
        width: D.
        space: S.
    """

    def __init__(self, width: int, space: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, space, bias=False)
        self.scale = nn.Parameter(torch.ones(space))
        self.shift = nn.Parameter(torch.zeros(space))
        self.out = nn.Linear(space, space, bias=False)

    def forward(self, vectors: Tensor, rows: Tensor) -> Tensor:
        """[B S] from [B D], of which `rows` [B] are there."""
        normal = standardised(wide(self.hidden(vectors)), rows)
        out: Tensor = self.out((self.scale * normal + self.shift).relu())
        return out
