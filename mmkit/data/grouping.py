"""Grouping: the samples of a batch in two groups of like length, where one padded batch would be mostly padding.

Axes: B samples of a batch, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.contract import Batch, Features

WORTHWHILE = 0.5
"""Share of the work of one padded batch that two groups may be at most, to be worth a second pass."""
QUADRATIC = 128
"""Steps from which attention, whose work grows with the square of T, outweighs the rest of an encoder."""


@dataclass(frozen=True)
class Grouped:
    """A batch in groups, for an encoder whose rows are independent of each other.

    Args:
        groups: each padded to its own longest.
        place: [B], where each sample of the batch is in the groups one after the other.
    """

    groups: Sequence[Batch]
    place: Tensor

    def part(self, at: slice) -> Grouped:
        """The samples of the batch at `at`."""
        wanted = self.place[at]
        groups, order, start = [], [], 0
        for group in self.groups:
            size = len(group["mask"])
            here = ((wanted >= start) & (wanted < start + size)).nonzero().squeeze(1)
            if len(here):
                groups.append({name: leaf[wanted[here] - start] for name, leaf in group.items()})
                order.append(here)
            start += size
        return Grouped(groups, torch.cat(order).argsort())

    def joined(self, features: Sequence[Features]) -> Features:
        """The features of the batch, from those of its groups."""
        steps = max(one.tokens.shape[1] for one in features)

        def whole(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat(list(parts)).index_select(0, self.place)

        return Features(
            whole([F.pad(one.tokens, (0, 0, 0, steps - one.tokens.shape[1])) for one in features]),
            whole([F.pad(one.mask, (0, steps - one.mask.shape[1])) for one in features]),
            None if features[0].pooled is None else whole([one.pooled for one in features if one.pooled is not None]),
            {name: whole([one.penalties[name] for one in features]) for name in features[0].penalties},
            all(one.complete for one in features),
            {name: whole(_alike([one.details[name] for one in features])) for name in features[0].details},
            {name: whole(_alike([one.inner[name] for one in features])) for name in features[0].inner},
        )


def _alike(parts: Sequence[Tensor]) -> list[Tensor]:
    """Tensors [B ...] with zeros behind each, so that they differ in B alone."""
    most = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    return [
        F.pad(part, [side for size, now in zip(most[::-1], part.shape[:0:-1], strict=True) for side in (0, size - now)])
        for part in parts
    ]


def short_and_long(lengths: Tensor) -> tuple[Tensor, Tensor] | None:
    """The places of the shorter and of the longer samples in a batch, of lengths [B]; None if groups are not worth it.

    >>> short_and_long(torch.tensor([5, 200, 4, 6]))
    (tensor([2, 0, 3]), tensor([1]))
    >>> short_and_long(torch.tensor([5, 7, 4, 6]))
    """
    order = np.argsort(lengths.numpy(), kind="stable")
    steps = np.maximum(lengths.numpy()[order], 1)
    work = steps * (steps + QUADRATIC)  # of a sample that is padded to so many steps
    count = np.arange(1, len(steps))
    of_two = count * work[:-1] + (len(steps) - count) * work[-1]  # by the size of the first group
    if not len(count) or of_two.min() > WORTHWHILE * len(steps) * work[-1]:
        return None
    first = int(of_two.argmin()) + 1
    return torch.from_numpy(order[:first]), torch.from_numpy(order[first:])
