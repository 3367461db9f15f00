"""Readings: what a data set holds of each input, and how the rows of a batch are read from it.

    Whole    transformed once, in memory or on disk, see `whole.py`
    Live     transformed when asked, because the transform augments, or the whole would fit neither into memory nor disk
    Packed   features of a frozen encoder, see `packed.py`
    Copies   several of those, of augmented copies of the split

Axes: B samples of a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Features, Transform
from mmkit.data.bad_values import transform_batch
from mmkit.data.columns import Column
from mmkit.data.grouping import Grouped
from mmkit.data.packed import Packed
from mmkit.data.placing import on, pinned
from mmkit.data.whole import AT_ONCE, Whole, bytes_of, whole
from mmkit.system.machine import memory

InputBatch = Batch | Grouped | Features
"""What a model takes of an input: a batch, in groups or not, or the features that its frozen encoder gave."""

SHARE = 4
"""An input that would take more than the machine's memory by this is transformed when asked."""
PROBED = 64
"""Values by which the size of a whole is estimated, where there are more than `AT_ONCE`."""


class Reading(Protocol):
    """One input of a split, ready to be read by index."""

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> InputBatch:
        """The rows of the samples `index` [B], on the device of the reading. Thread-safe.

        Args:
            index: of the samples, on that device or on the host.
            generator: random generator of the augmentation.
            host: the same index on the host, where the caller has it; else the device may have to be waited for.

        Raises:
            RejectedError: a transform rejects values.
            ContractError: a batch has no bool leaf `mask`, or another number of rows.
        """
        ...

    def to(self, device: torch.device) -> Reading:
        """The same with its tensors on a device."""
        ...


@dataclass(frozen=True)
class Live:
    """Values that are transformed whenever they are asked for.

    Args:
        name: of the input.
        transform: fitted.
        values: decoded; None is a missing one.
        ids: of their samples, for messages.
        augment: whether the transform gets a generator.
        device: where rows are put.
    """

    name: str
    transform: Transform
    values: Sequence[Any]
    ids: Sequence[str]
    augment: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def made(self, index: Tensor, generator: Generator | None = None) -> Batch:
        """The rows of the samples `index` [B], on the host; in pinned memory if the device is CUDA."""
        drawn = generator if self.augment else None
        places = index.tolist()
        if isinstance(self.values, Column) and self.values.lazy is not None:
            chosen: Sequence[Any] = self.values.take(places)
            ids = [self.ids[place] for place in places]
            batch = transform_batch(self.name, self.transform, chosen, drawn, column=chosen, ids=ids)
        else:
            chosen = [self.values[i] for i in places]
            batch = transform_batch(self.name, self.transform, chosen, drawn, column=self.values, ids=self.ids)
        return pinned(batch) if self.device.type == "cuda" else batch

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> Batch:
        """The rows of the samples `index` [B]; see `Reading`."""
        return on(self.made(index if host is None else host, generator), self.device)

    def to(self, device: torch.device) -> Live:
        """The same with rows on a device."""
        return replace(self, device=device)


@dataclass(frozen=True)
class Copies:
    """The features of several augmented copies of a split.

    Args:
        several: the features of each copy.
    """

    several: Sequence[Packed]

    def draw(self, generator: Generator | None) -> Packed:
        """One of the copies, chosen at random; the first without a generator."""
        if generator is None:
            return self.several[0]
        return self.several[int(torch.randint(len(self.several), (), generator=generator))]

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> Features:
        """The rows of a copy that is chosen anew; see `Reading`. Training chooses one an epoch."""
        return self.draw(generator).rows(index, host=host)

    def to(self, device: torch.device) -> Copies:
        """The same on a device."""
        return Copies([one.to(device) for one in self.several])


def reading(
    name: str,
    transform: Transform,
    values: Sequence[Any],
    ids: Sequence[str],
    *,
    augment: bool,
    at_most: int | None = None,
) -> Whole | Live:
    """The reading of an input: Live if the transform augments or the whole would be too large, else Whole.

    Args:
        name: of the input.
        transform: fitted.
        values: decoded; None is a missing one.
        ids: of their samples, for messages.
        augment: whether to augment, where the transform does.
        at_most: bytes that the whole may take; None is a quarter of the machine's memory.

    Raises:
        RejectedError: the transform rejects values.
        ContractError: a batch has no bool leaf `mask`, or another number of rows.
    """
    if augment and transform.augments:
        return Live(name, transform, values, ids)
    bound = (memory() or sys.maxsize) // SHARE if at_most is None else at_most
    if size_of_whole(name, transform, values, ids) > bound:
        return Live(name, transform, values, ids, augment=False)
    return whole(name, transform, values, ids)


def size_of_whole(name: str, transform: Transform, values: Sequence[Any], ids: Sequence[str]) -> float:
    """About the bytes of a split that is transformed, by some of its values; 0 of a few values, which are no matter.

    Raises:
        RejectedError: the transform rejects values.
        ContractError: a batch has no bool leaf `mask`, or another number of rows.
    """
    lazy = values.lazy if isinstance(values, Column) else None
    if len(values) <= (AT_ONCE if lazy is None else PROBED):
        return 0.0
    places = torch.linspace(0, len(values) - 1, PROBED).long().tolist()
    spread = [values[i] for i in places]
    known = (values, ids) if lazy is None else (spread, [ids[i] for i in places])
    probe = transform_batch(name, transform, spread, column=known[0], ids=known[1])
    return bytes_of(probe) * len(values) / PROBED
