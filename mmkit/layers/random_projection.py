"""Random maps that bring inputs of different widths to one, where learned ones would be a way out of a loss.

Axes: B batch, D width, S width of the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.layers.pairs import exact_product


class RandomProjection(nn.Module):
    """A linear map that keeps the size of what it maps, drawn once, saved with the model and never trained.

    Args:
        width: D.
        space: S.
    """

    weight: Tensor

    def __init__(self, width: int, space: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(width, space) * width**-0.5)

    def forward(self, values: Tensor) -> Tensor:
        """[B S] of [B D]."""
        return exact_product(values, self.weight)
