"""Pairs of inputs for objectives: the rows that both have, and statistics over those rows alone.

Axes: B batch, S width of a shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.layers.precision import exactly


def check_pairs(widths: Mapping[str, int], objective: str) -> None:
    """Check that there is a pair.

    Raises:
        ValueError: fewer than two inputs.
    """
    if len(widths) < 2:
        raise ValueError(f"the {objective} objective pairs inputs and needs two; got {', '.join(widths) or 'none'}")


def pairs(present: Sequence[Tensor]) -> list[tuple[int, int, Tensor]]:
    """Each pair of inputs by their places, and the rows that have both, [B] bool.

    >>> pairs([torch.tensor([True, True]), torch.tensor([True, False])])
    [(0, 1, tensor([ True, False]))]
    """
    return [(a, b, present[a] & present[b]) for a, b in combinations(range(len(present)), 2)]


def mean_over_pairs(present: Sequence[Tensor], loss: Callable[[int, int, Tensor], Tensor], weight: float) -> Tensor:
    """[B], one number: the mean of a loss of the whole batch over the pairs of inputs that two rows or more have both.

    Args:
        present: [B] bool of each input.
        loss: of a pair, by the places of its inputs and the rows [B] bool that have both; any number where there are
            fewer than two.
        weight: factor of the mean.
    """
    total = torch.zeros((), device=present[0].device)
    count = torch.zeros((), device=present[0].device)
    for a, b, both in pairs(present):
        enough = both.sum() > 1
        total = total + torch.where(enough, loss(a, b, both), 0)
        count = count + enough
    return (weight * total / count.clamp(min=1)).expand(len(present[0]))


def wide(values: Tensor) -> Tensor:
    """In float32 at least: half precision is too coarse for losses, similarities and covariances."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def direction(values: Tensor) -> Tensor:
    """Of length 1, in float32 at least. Zero stays zero."""
    return F.normalize(wide(values), dim=-1)


def exact_product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product in the precision of its factors, which autocast would round."""
    with exactly(left.device):
        return left @ right


def centred(values: Tensor, rows: Tensor) -> Tensor:
    """[B S]: mean 0 of each column over `rows` [B] bool; zero in all others. Without any, all is zero."""
    shown = rows.unsqueeze(1).to(values.dtype)  # [B 1]
    return (values - (values * shown).sum(0) / shown.sum().clamp(min=1)) * shown


def standardised(values: Tensor, rows: Tensor, eps: float = 1e-5) -> Tensor:
    """[B S]: mean 0 and variance 1 of each column over `rows`, divided by their number; zero in all others.

    Args:
        values: [B S].
        rows: [B] bool. Without any, all is zero.
        eps: added to the variance, so that a column of equal numbers becomes zero.
    """
    middle = centred(values, rows)
    return middle * torch.rsqrt(middle.square().sum(0) / rows.sum().clamp(min=1) + eps)
