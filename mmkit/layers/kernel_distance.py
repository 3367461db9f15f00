"""How unlike two samples of vectors are over a batch, by kernels: one number.

Axes: B batch, H width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.layers.pairs import exact_product

BANDWIDTHS = (0.5, 1.0, 2.0)
"""Of the kernels, in medians of the squared distances."""
ROUNDED = 1e-6
"""The share of the squared lengths below which a squared distance is rounding."""


def kernel_distance(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Squared maximum mean discrepancy: the kernel's mean within each sample, less twice that between the two.

    Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A Kernel Two-Sample Test", JMLR 2012,
    https://jmlr.org/papers/v13/gretton12a.html, the biased estimate, which is 0 for equal samples and never less. The
    kernel is the mean of exp(-d^2 / s) for s half, once and twice the median of all d^2 between two rows of the two
    samples together, which has no gradient; of equal rows, a small share of their squared length. It is over the rows
    of weight 1, and 0 where there are fewer than two.

    Args:
        one: [B H].
        other: [B H], of the same rows.
        weight: [B] of 0 and 1.

    >>> rows = torch.tensor([[0.0], [2.0]])
    >>> kernel_distance(rows, rows + 1, torch.ones(2)) > kernel_distance(rows, rows + 0.1, torch.ones(2))
    tensor(True)
    """
    count = weight.sum()
    share = weight / count.clamp(min=1)
    signs = torch.cat([share, -share])  # [2B]
    both = torch.cat([one, other])  # [2B H]
    centred = both - (signs.abs().unsqueeze(1) * both).sum(0) / 2  # so that the squares lose no digits
    sizes = centred.square().sum(1)
    squares = (sizes.unsqueeze(1) + sizes - 2 * exact_product(centred, centred.T)).clamp(min=0)  # [2B 2B]
    real = signs != 0
    place = torch.arange(len(both), device=both.device)
    pairs = real.unsqueeze(1) & real & (place.unsqueeze(1) != place)
    median = squares.detach().masked_fill(~pairs, torch.nan).nanmedian().nan_to_num()
    scale = torch.maximum(median, ROUNDED * (signs.abs().unsqueeze(1) * both.detach().square()).sum())
    scale = torch.where(scale > 0, scale, 1)
    kernel = torch.stack([(-squares / (times * scale)).exp() for times in BANDWIDTHS]).mean(0)
    return (signs.unsqueeze(1) * kernel * signs).sum() * (count > 1)
