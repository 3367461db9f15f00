"""Networks of one shape side by side, mixed by weights of each row.

Axes: B batch, D width, E experts, F hidden width, H width of the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Experts(nn.Module):
    """E networks of two layers with a GELU between them; of each row, their results weighed and added.

    All of them are computed for every row. A weight of zero leaves an expert out exactly, forward and backward. It is
    multiplied into the hidden layer, so that all second layers and the sum over experts are one matrix product: there
    is no branch and no sorting, and up to eight experts that is faster than sending each row to its own.

    Args:
        count: E.
        width: D.
        hidden: F.
        out: H.

    >>> Experts(4, 16, hidden=32, out=8)(torch.rand(5, 16), torch.rand(5, 4).softmax(1)).shape
    torch.Size([5, 8])
    """

    def __init__(self, count: int, width: int, *, hidden: int, out: int) -> None:
        super().__init__()
        self.count = count
        self.hidden = nn.Linear(width, count * hidden)  # one layer for all: each expert reads the same
        apart = [nn.Linear(hidden, out) for _ in range(count)]
        self.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in apart], 1))  # [H E*F]
        self.bias = nn.Parameter(torch.stack([linear.bias.detach() for linear in apart]))  # [E H]

    def forward(self, values: Tensor, weights: Tensor) -> Tensor:
        """[B H] from values [B D] and weights [B E]."""
        hidden = F.gelu(self.hidden(values)).unflatten(1, (self.count, -1))  # [B E F]
        weights = weights.to(hidden.dtype)
        return F.linear((hidden * weights.unsqueeze(2)).flatten(1), self.weight) + weights @ self.bias
