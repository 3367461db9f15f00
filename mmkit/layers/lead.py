"""How far an input is ahead of the others, by what each alone makes of a batch.

Axes: B batch, M inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.layers.batch_sums import batch_sums

LEAST = 1e-6
"""Of the mean score of the others, by which is divided."""


def lead(right: Tensor, there: Tensor) -> Tensor:
    """[M]: the score of each input, divided by the mean of the others'; 1 where there is nothing to compare.

    The score is the mean over the rows that have the input, of all processes that share the batch. An input that no
    row has takes no part.

    >>> lead(torch.tensor([[0.6, 0.3]]), torch.tensor([[True, True]]))
    tensor([2.0000, 0.5000])

    Args:
        right: [B M], how well each input alone does, more is better: the probability of what is true.
        there: [B M] bool, where the input is there and the truth is known.
    """
    rows, total = batch_sums(there.sum(0), right.masked_fill(~there, 0).sum(0))  # [M]
    score = total / rows.clamp(min=1)
    seen = rows > 0
    others = seen.sum() - seen.long()
    of_others = (score.sum() - score) / others.clamp(min=1)
    return torch.where((others > 0) & seen, score / of_others.clamp(min=LEAST), 1.0)
