"""Learned tokens, the same for every sample: latents, queries, bottlenecks, and what stands in for missing ones.

Axes: B batch, K latents, H width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Latents(nn.Module):
    """K learned tokens of width H, at the start normal with deviation 0.02, as the embeddings of BERT are.

    Args:
        count: K.
        width: H.

    >>> Latents(4, 8)().shape
    torch.Size([1, 4, 8])
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.randn(count, width) * 0.02)

    def forward(self) -> Tensor:
        """[1 K H]. What broadcasts needs no copy for each sample: attention computes these queries once."""
        return self.values.unsqueeze(0)

    def before(self, tokens: Tensor) -> Tensor:
        """[B K+T H], the latents and then `tokens` [B T H]."""
        return torch.cat([self.of(tokens), tokens], 1)

    def of(self, tokens: Tensor) -> Tensor:
        """[B K H], for each row of `tokens`, in their dtype."""
        return self.values.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
