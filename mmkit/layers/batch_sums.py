"""Sums over a batch that several processes share, each with its own rows: every statistic of a batch is made of them.

A process that counts its own rows alone trains another model than one process that has them all: what it divides by, or
subtracts, is another. So whatever is computed over the rows of a batch (a mean, a variance, the share of a choice) is
written as sums, and these go through `batch_sums`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

_alone = threading.local()
_add: Callable[[Tensor], Tensor] | None = None
"""What adds up in place of the processes; None lets these do it."""


def batch_sums(*sums: Tensor) -> tuple[Tensor, ...]:
    """Sums over the rows of this process, added up over all processes of a training; without others as they are.

    One message for all of them, in the widest of their floating types. Gradients go through it: that of a sum is the
    sum of what all processes ask for. All processes must call it equally often. In inference mode sums are those of the
    process, since the processes of a training predict other batches.

    Args:
        sums: of any shapes, each over its own rows; counts may be integers, and have no gradient.

    >>> batch_sums(torch.ones(2), torch.tensor(3))
    (tensor([1., 1.]), tensor(3))
    """
    add = _add
    if add is None:
        if not in_company():
            return sums
        add = _over_processes
    dtype = torch.float32
    for one in sums:
        dtype = torch.promote_types(dtype, one.dtype) if one.is_floating_point() else dtype
    total = add(torch.cat([one.to(dtype).flatten() for one in sums]))
    parts = total.split([one.numel() for one in sums])
    return tuple(part.view(one.shape).to(one.dtype) for part, one in zip(parts, sums, strict=True))


def in_company() -> bool:
    """Whether other processes have rows of the batch."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
        and not torch.is_inference_mode_enabled()
        and not getattr(_alone, "on", False)
    )


def shared() -> bool:
    """Whether sums are added up over others, be it those of the conformance kit."""
    return _add is not None or in_company()


@contextmanager
def alone() -> Iterator[None]:
    """A context in which this process has all rows of a batch, whatever others there are."""
    before, _alone.on = getattr(_alone, "on", False), True
    try:
        yield
    finally:
        _alone.on = before


@contextmanager
def added_by(add: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """A context in which `add` adds up what several threads have, as processes would: for the conformance kit.

    Args:
        add: gets the sums [N] of the thread that calls it, and gives those of all, with their gradients.
    """
    global _add  # noqa: PLW0603 (of the process, as its processes are)
    before, _add = _add, add
    try:
        yield
    finally:
        _add = before


def _over_processes(mine: Tensor) -> Tensor:
    from torch.distributed.nn.functional import all_reduce  # noqa: PLC0415 (not every build of torch has it)

    total: Tensor = all_reduce(mine)
    return total
