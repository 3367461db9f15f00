"""Pooling: tokens to one vector.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pooled(tokens: Tensor, mask: Tensor, how: str) -> Tensor | None:
    """The pooled tokens [B D] without padding, zero in rows without real tokens; None for "none".

    Args:
        tokens: [B T D].
        mask: [B T], True where a token is real.
        how: "mean", "max", "cls" (the first token) or "none".

    >>> tokens, mask = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]])  # the last is padding
    >>> pooled(tokens, mask, "mean"), pooled(tokens, mask, "max"), pooled(tokens, mask, "cls")
    (tensor([[2.]]), tensor([[3.]]), tensor([[1.]]))
    """
    if how == "mean":
        return tokens.masked_fill(~mask.unsqueeze(-1), 0).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    if how == "cls":
        return tokens[:, 0]
    if how == "max":
        lowest = torch.finfo(tokens.dtype).min
        maximum = tokens.masked_fill(~mask.unsqueeze(-1), lowest).amax(1)
        return torch.where(mask.any(1, keepdim=True), maximum, 0)
    return None
