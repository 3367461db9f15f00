"""One training on several ranks: their gradients are added up, so that all make the step of one process.

All draw the same order; each takes every `world`-th sample of a batch, and divides its losses by the samples with truth
in the whole batch, so that the sum of the ranks' gradients is the gradient of the batch. One message a step carries all
of them, after the last backward pass: whatever the step does on the way (parts of a batch, turns, backward passes of a
balance method) needs no other form. What is computed over the rows of a batch goes through `layers.batch_sums`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from mmkit.errors import DataError, UsageError
from mmkit.layers.counted_norm import Counted, norms_in
from mmkit.system.ranks import Ranks


def check_batches(least: int, ranks: Ranks) -> None:
    """Check that each rank has a sample of every batch.

    Args:
        least: samples of the smallest.
        ranks: of the training.

    Raises:
        UsageError: one of the batches is smaller.
    """
    if least < ranks.world:
        raise UsageError(
            f"{ranks.world} ranks share each batch, and one of this training has {least} samples; start fewer ranks, "
            "or take a larger --batch-size"
        )


def check_samples(found: Sequence[Mapping[str, int]]) -> None:
    """Check that all ranks use the same samples: of other numbers each would take other shares of a batch.

    Args:
        found: what each rank has, by name: samples of a split, and values that it could not read.

    Raises:
        DataError: a rank has dropped samples or values that the first has not, or the other way round.
    """

    def told(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())

    for rank, counts in enumerate(found):
        if counts != found[0]:
            raise DataError(
                f"rank {rank} of {len(found)} has {told(counts)}; rank 0 {told(found[0])}: a value cannot be read on "
                "each machine; see that all have the same files, and can open them"
            )


def add_up(parameters: Sequence[nn.Parameter], loss: Tensor, ranks: Ranks) -> Tensor:
    """Make the gradients of this rank's share those of the whole batch; gives the loss of it.

    A parameter without a gradient on every rank keeps none, so that an optimiser leaves it alone.

    Args:
        parameters: that are trained.
        loss: of this rank's share.
        ranks: of the training.
    """
    if ranks.world == 1:
        return loss
    reached = ranks.any(*(parameter.grad is not None for parameter in parameters))
    learning = [parameter for parameter, has in zip(parameters, reached, strict=True) if has]
    own = [torch.zeros_like(one) if one.grad is None else one.grad for one in learning]
    total, *gradients = _added(loss, *own)
    for one, gradient in zip(learning, gradients, strict=True):
        one.grad = gradient
    return total


def _added(*tensors: Tensor) -> list[Tensor]:
    """The tensors, added up over the ranks; one message for those of a dtype."""
    found = list(tensors)
    for dtype in dict.fromkeys(one.dtype for one in tensors):
        places = [place for place, one in enumerate(tensors) if one.dtype == dtype]
        flat = torch.cat([tensors[place].flatten() for place in places])
        distributed.all_reduce(flat)
        parts = flat.split([tensors[place].numel() for place in places])
        for place, part in zip(places, parts, strict=True):
            found[place] = part.view_as(tensors[place])
    return found


@contextmanager
def norms_of_all(module: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Inside, batch norms of torch count the whole batch, as `nn.SyncBatchNorm` does on CUDA; on every device."""
    norms = [one for one in norms_in(module) if "forward" not in vars(one)] if ranks.world > 1 else []
    for norm in norms:
        norm.forward = Counted(norm)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)
