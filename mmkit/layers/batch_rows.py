"""The rows of a batch that several processes share, brought together: for what compares each sample with all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed

from mmkit.contract import Batch, Features, ModelOutput
from mmkit.layers.batch_sums import batch_sums
from mmkit.system.ranks import group


@dataclass(frozen=True)
class Rows:
    """The rows of a whole batch, and which of them this process has: they are dealt out one after the other.

    Args:
        total: of the batch.
        own: [B], the places of this process's rows.
    """

    total: int
    own: Tensor

    @staticmethod
    def of(mask: Tensor) -> Rows:
        """Ask all processes how many rows they have; this one has those of `mask` [B]."""
        sizes: list[int] = [0] * distributed.get_world_size()
        distributed.all_gather_object(sizes, len(mask), group=group())
        return Rows(sum(sizes), places(sizes, distributed.get_rank()).to(mask.device))

    def whole(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """[N ...] of all processes from [B ...] of this one. Gradients go back to the process that has the row."""
        exact = torch.float64  # of whole numbers
        spread = [self._spread(one if one.is_floating_point() else one.to(exact)) for one in leaves]
        found: list[Tensor] = list(leaves)
        for kind in dict.fromkeys(one.dtype for one in spread):
            at = [place for place, one in enumerate(spread) if one.dtype == kind]
            for place, one in zip(at, batch_sums(*(spread[place] for place in at)), strict=True):
                found[place] = one.to(leaves[place].dtype)
        return found

    def _spread(self, own: Tensor) -> Tensor:
        """[N ...], zero where the rows are those of others."""
        return own.new_zeros(self.total, *own.shape[1:]).index_copy(0, self.own, own)


def places(sizes: Sequence[int], process: int) -> Tensor:
    """The places in a batch of the rows of a process; all are dealt out one after the other.

    >>> places([3, 1], 0), places([3, 1], 1)
    (tensor([0, 2, 3]), tensor([1]))
    """
    row = torch.arange(sizes[process])
    before = [(row + (other < process)).clamp(max=size) for other, size in enumerate(sizes)]
    return torch.stack(before).sum(0)


def whole_batch(output: ModelOutput, truth: Batch) -> tuple[ModelOutput, Batch, Tensor]:
    """What all processes have of a batch, and the places [B] of this one's rows.

    Of features it has the vectors alone, as one token, and of details those that are [B].
    """
    rows = Rows.of(truth["mask"])
    parts = [*output.features.values(), output.fused]
    told = {name: detail for name, detail in output.fused.details.items() if detail.ndim == 1}
    leaves = [
        *(part.vector() for part in parts),
        *(part.present() for part in parts),
        output.output,
        *output.unimodal.values(),
        *output.seen.values(),
        *told.values(),
        *truth.values(),
    ]
    found = iter(rows.whole(leaves))
    vectors, present = ([next(found) for _ in parts] for _ in range(2))
    *features, fused = [Features.of(v, p) for v, p in zip(vectors, present, strict=True)]
    whole = ModelOutput(
        dict(zip(output.features, features, strict=True)),
        fused,
        next(found),
        {name: next(found) for name in output.unimodal},
        seen={name: next(found) for name in output.seen},
    )
    whole = replace(whole, fused=replace(fused, details={name: next(found) for name in told}))
    return whole, {name: next(found) for name in truth}, rows.own
