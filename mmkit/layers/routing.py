"""What routers of experts share: the choice of a few, and the penalty that spreads what is sent over all.

Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", ICLR 2017,
https://arxiv.org/abs/1701.06538; Fedus, Zoph and Shazeer, "Switch Transformers", JMLR 2022,
https://arxiv.org/abs/2101.03961.

Axes: R rows, E experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.layers.batch_sums import batch_sums


def kept(scores: Tensor, top: int) -> Tensor:
    """The greatest `top` scores of each row [... E], and next to nothing in place of the others.

    >>> kept(torch.tensor([[3.0, 1.0, 2.0]]), 2).softmax(1)
    tensor([[0.7311, 0.0000, 0.2689]])
    """
    if top >= scores.shape[-1]:
        return scores
    least = scores.topk(top, -1).values[..., -1:]
    return scores.masked_fill(scores < least, torch.finfo(scores.dtype).min)


def imbalance(scores: Tensor, top: int, counted: Tensor | None = None) -> Tensor:
    """E sum_e f_e P_e: 1 where all experts are chosen alike, E where all rows go to one, 0 without rows.

    f are the shares of the choices, which have no gradient, P the mean probabilities. Processes that share a batch
    count all of it.

    Args:
        scores: [R E].
        top: how many of each row are chosen.
        counted: [R] bool, which rows are; None is all.

    >>> round(imbalance(torch.eye(3), 1).item(), 4)
    1.0
    """
    chosen, weights = (kept(scores, top) == scores).to(scores.dtype), scores.softmax(1)
    if counted is not None:
        chosen, weights = (each * counted.unsqueeze(1).to(scores.dtype) for each in (chosen, weights))
    chosen, weights = batch_sums(chosen.sum(0), weights.sum(0))
    shares = (chosen / chosen.sum().clamp(min=1)).detach()
    return scores.shape[1] * (shares * weights / weights.sum().detach().clamp(min=1)).sum()
