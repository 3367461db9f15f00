"""Softmax over the inputs that are there.

Axes: B batch, M inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def present_softmax(scores: Tensor, present: Tensor | None) -> Tensor:
    """Weights of the inputs, of sum 1 over those that are there; zero for a missing one, and its score's gradient too.

    Where all are missing, all weights are zero.

    Args:
        scores: [B M ...], one of each input, for several features where there are more axes.
        present: [B M] bool, which inputs are there; None is all.

    >>> there = torch.tensor([[True, True, False], [False, False, False]])
    >>> present_softmax(torch.zeros(2, 3), there)
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    if present is None:
        return scores.softmax(1)
    there = present if scores.ndim == 2 else present.view(*present.shape, *(1,) * (scores.ndim - 2))  # [B M 1 ...]
    # The least finite number, since a softmax over -inf alone is NaN, and so is its gradient behind a `where`.
    least = torch.finfo(scores.dtype).min
    return torch.where(there, scores, least).softmax(1) * there
