"""How unlike, and how alike, two samples of vectors are over a batch: one number each.

Both are over the rows of weight 1, and 0 where there are fewer than two. Processes that share a batch count all of it.

Axes: B batch, H width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.layers.batch_sums import batch_sums

MOMENTS = 5
NEAR = 2.0**-26
"""Added to a squared length; its root is taken off again. The plain root has no gradient where moments are equal."""


def moment_distance(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Central moment discrepancy: lengths of the difference of the means, and of the central moments 2 to 5, added.

    Zellinger et al., "Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning", ICLR 2017,
    https://arxiv.org/abs/1702.08811, for numbers from 0 to 1. A length d is sqrt(d^2 + e) - sqrt(e), e = 2^-26.

    Args:
        one: [B H].
        other: [B H], of the same rows.
        weight: [B] of 0 and 1.

    >>> same = torch.rand(5, 3)
    >>> moment_distance(same, same, torch.ones(5))
    tensor(0.)
    """
    count, share = _counted(weight)
    means = batch_sums(*((side * share).sum(0) for side in (one, other)))  # [H] each
    centred = [side - mean for side, mean in zip((one, other), means, strict=True)]
    total = _length(means[0] - means[1])
    powers = centred
    apart: list[Tensor] = []
    for _ in range(MOMENTS - 1):
        powers = [power * side for power, side in zip(powers, centred, strict=True)]
        apart.append(((powers[0] - powers[1]) * share).sum(0))
    for moment in batch_sums(*apart):
        total = total + _length(moment)
    return total * (count > 1)


def likeness(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """The mean over [H H] of the squared inner products of columns; 0 where the two samples are orthogonal.

    Bousmalis et al., "Domain Separation Networks", NeurIPS 2016, https://arxiv.org/abs/1608.06019, the difference loss.
    Columns are centred, and then each row has length one, without a gradient to its length.

    Args:
        one: [B H].
        other: [B H], of the same rows.
        weight: [B] of 0 and 1.
    """
    count, share = _counted(weight)
    sides = []
    for side, mean in zip((one, other), batch_sums(*((each * share).sum(0) for each in (one, other))), strict=True):
        centred = (side - mean) * weight.unsqueeze(1)
        sides.append(centred / (torch.linalg.vector_norm(centred.detach(), dim=1, keepdim=True) + 1e-6))
    (products,) = batch_sums(sides[0].T @ sides[1])
    return products.square().mean() * (count > 1)


def _counted(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The number of rows, and the share of each in a mean, [B 1]."""
    (count,) = batch_sums(weight.sum())
    return count, (weight / count.clamp(min=1)).unsqueeze(1)


def _length(difference: Tensor) -> Tensor:
    return (difference.square().sum() + NEAR).sqrt() - NEAR**0.5
