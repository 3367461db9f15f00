"""A bilinear form of two vectors, without their outer product.

Axes: B batch, N and K widths of the two vectors, H width of the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bilinear(nn.Module):
    """y_h = sum_n sum_k T_nhk x_n z_k: every number of one vector times every number of the other, weighed.

    The first vector is contracted first, in one matrix product; so no sample needs more than H K numbers between. The
    weights are drawn from a normal distribution of variance 1 / (N K), so that the result has the size of the vectors;
    `nn.Bilinear` draws them from one of variance 1 / (3 N), which makes it sqrt(K / 3) times as large.

    Args:
        first: N.
        second: K.
        width: H.

    >>> Bilinear(5, 3, 8)(torch.rand(2, 5), torch.rand(2, 3)).shape
    torch.Size([2, 8])
    """

    def __init__(self, first: int, second: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.randn(first, width, second) * (first * second) ** -0.5)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """[B H] of [B N] and [B K]."""
        forms = (first @ self.weight.flatten(1)).unflatten(1, (self.width, -1))  # [B H K]
        return (forms @ second.unsqueeze(2)).squeeze(2)
