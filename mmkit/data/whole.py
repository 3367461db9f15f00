"""The batch of a whole split: transformed once, in memory, padded to the longest sample of the batch.

Axes: B samples of a batch, N samples of the split, n of a part of it, T steps, R real steps of the split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Transform
from mmkit.data.bad_values import Rejected, transform_batch
from mmkit.data.columns import Column
from mmkit.data.grouping import Grouped, short_and_long
from mmkit.data.padding import padded, real_steps
from mmkit.data.placing import on

AT_ONCE = 4096
"""Values that are transformed together. Each part is padded to its own longest, so one long value costs little."""
DENSE = 64 * 2**20
"""Bytes up to which sequences are stored with their padding; a batch is then cut out of them, which is fastest."""


@dataclass(frozen=True)
class Whole:
    """The batch of a whole split, transformed once.

    Leaves along T, the mask among them, are cut to the longest sample of a batch. They are stored as [N T ...], or, as
    `offsets` says, as [R ...] without padding.

    Args:
        leaves: by name.
        along: the names of those that are along T; empty if nothing is padded, or the padding is the transform's own.
        lengths: [N], the number of steps of each sample, on the host; None where `along` is empty.
        least: the number of steps that a batch has at least.
        offsets: [N + 1], where each sample begins in the leaves of `fills`; None if all are stored as [N T ...].
        fills: the padding of each leaf that is stored as [R ...].
        grouped: whether a batch may come in groups, see `Grouped`.
        place: the device of the rows, where the leaves stay on disk; None if they are in memory.
    """

    leaves: Batch
    along: frozenset[str] = frozenset()
    lengths: Tensor | None = None
    least: int = 1
    offsets: Tensor | None = None
    fills: Mapping[str, float] = field(default_factory=dict)
    grouped: bool = False
    place: torch.device | None = None

    @cached_property
    def size(self) -> int:
        """Bytes in memory."""
        return 0 if self.place is not None else sum(leaf.numel() * leaf.element_size() for leaf in self.leaves.values())

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> Batch | Grouped:  # noqa: ARG002
        """The rows [B ...], those along T padded to the longest of them; see `Reading`."""
        if self.place is not None and self.place.type != "cpu":
            return _placed(replace(self, place=None).rows(index.cpu() if host is None else host), self.place)
        if self.lengths is None:
            return {name: leaf.index_select(0, index) for name, leaf in self.leaves.items()}
        lengths = self.lengths.index_select(0, index.cpu() if host is None else host)  # [B]
        if self.grouped and (groups := short_and_long(lengths)) is not None:
            place = torch.cat(groups).argsort().to(index.device)
            parts = [self._padded(index[group.to(index.device)], int(lengths[group].max())) for group in groups]
            return Grouped(parts, place)
        return self._padded(index, int(lengths.max()))

    def _padded(self, index: Tensor, steps: int) -> Batch:
        steps = max(steps, self.least)
        found = {}
        for name, leaf in self.leaves.items():
            if name in self.fills and self.offsets is not None:
                found[name] = padded(leaf, self.offsets, index, steps, self.fills[name])
            else:
                found[name] = (leaf[:, :steps] if name in self.along else leaf).index_select(0, index)
        return found

    def to(self, device: torch.device) -> Whole:
        """The same on a device; the lengths stay on the host, and what is on disk there."""
        if self.place is not None:
            return replace(self, place=device)
        offsets = None if self.offsets is None else self.offsets.to(device)
        return replace(self, leaves=on(self.leaves, device), offsets=offsets)


def _placed(batch: Batch | Grouped, device: torch.device) -> Batch | Grouped:
    if isinstance(batch, Grouped):
        return Grouped([on(group, device) for group in batch.groups], batch.place.to(device))
    return on(batch, device)


def whole(
    name: str, transform: Transform, values: Sequence[Any], ids: Sequence[str], *, of_truth: bool = False
) -> Whole:
    """The whole of an input, or of the truth, transformed in parts.

    Args:
        name: of the input.
        transform: fitted.
        values: decoded, or raw truth; None is a missing one.
        ids: of their samples, for messages.
        of_truth: whether the values are truth.

    Raises:
        RejectedError: the transform rejects values.
        ContractError: a batch has no bool leaf `mask`, or another number of rows.
    """
    lazy = values.lazy if isinstance(values, Column) else None
    size = AT_ONCE if lazy is None else lazy.at_once
    rejected = Rejected(name, of_truth=of_truth)

    def transformed(part: Sequence[Any]) -> Batch:
        return transform_batch(name, transform, part, column=values, ids=ids, of_truth=of_truth)

    parts: list[Batch] = []
    for start in range(0, max(len(values), 1), size):
        if lazy is None:
            parts.append(transformed(values[start : start + size]))
        elif (part := rejected.part(transform, values, ids, start, size)) is not None:
            parts.append(part)
        if parts and not alike(parts[0], parts[-1]):
            parts = [transformed(values)]  # a leaf that is not along T is as long as the longest value of a call
            break
    rejected.raise_any()
    lengths = torch.cat([lengths_of(part["mask"]) for part in parts])
    padded_to = {part["mask"].shape[1] for part in parts if part["mask"].ndim == 2}
    if of_truth or not padded_to or not len(lengths) or int(lengths.min()) == max(padded_to):
        return _joined(parts if len(padded_to) < 2 else [transformed(values)])  # nothing is padded
    along, least = along_steps(parts, lengths, values, transformed)
    fills = _fills(along, parts)
    others = parts[0].keys() - along
    if len(padded_to) > 1 and (len(fills) < len(along) or any(_differ(leaf, parts) for leaf in others)):
        parts = [transformed(values)]  # padding that cannot be made longer
    return _joined(parts, lengths, least, along, fills) if "mask" in along else _joined(parts)


def along_steps(
    parts: Sequence[Batch], lengths: Tensor, values: Sequence[Any], transformed: Callable[[Sequence[Any]], Batch]
) -> tuple[frozenset[str], int]:
    """The leaves along T, and the number of steps that a batch has at least.

    Args:
        parts: of the first values, transformed together.
        lengths: of them.
        values: of the split.
        transformed: transforms values.
    """
    # What a missing value and some others are padded to alone tells apart what grows with the longest value of a batch
    # from what has a length of its own.
    nothing = transformed([None])
    least = nothing["mask"].shape[1]
    alone = [transformed([values[i]]) for i in _of_different_lengths(lengths)]
    expected = [(one, max(int(lengths_of(one["mask"]).max()), least)) for one in (*parts, *alone, nothing)]
    return frozenset(
        leaf for leaf in parts[0] if all(one[leaf].shape[1:2] == (steps,) for one, steps in expected)
    ), least


def _of_different_lengths(lengths: Tensor) -> list[int]:
    """The places of up to three samples that are there: a shortest, a middle one, and one of the longest but one."""
    there = lengths[lengths > 0].unique()
    chosen = {int(there[i]) for i in (0, len(there) // 2, max(len(there) - 2, 0))} if len(there) else set()
    return [int((lengths == length).int().argmax()) for length in sorted(chosen)]


def _joined(
    parts: Sequence[Batch],
    lengths: Tensor | None = None,
    least: int = 1,
    along: frozenset[str] = frozenset(),
    fills: Mapping[str, float] | None = None,
) -> Whole:
    """The parts of a split as one; arguments are those of `Whole`, but `fills`, of all leaves of known padding."""
    if lengths is None:
        return Whole({leaf: _together([part[leaf] for part in parts]) for leaf in parts[0]})
    fills = fills or {}
    most = max(int(lengths.max()), least)
    padded_bytes = sum(_step_bytes(parts[0][leaf]) for leaf in along) * len(lengths) * most
    ragged = fills if padded_bytes > DENSE and 2 * int(lengths.sum()) < len(lengths) * most else {}
    leaves = {}
    for leaf in parts[0]:
        of_leaf = [part[leaf] for part in parts]
        if leaf in ragged:
            leaves[leaf] = _flat(of_leaf, lengths)
        elif leaf in along:
            leaves[leaf] = _rectangle(of_leaf, most, fills.get(leaf, 0))
        else:
            leaves[leaf] = _together(of_leaf)
    offsets = torch.cat((lengths.new_zeros(1), lengths.cumsum(0))) if ragged else None
    return Whole(leaves, along, lengths, least, offsets, ragged)


def _step_bytes(leaf: Tensor) -> int:
    return math.prod(leaf.shape[2:]) * leaf.element_size()


def _differ(leaf: str, parts: Sequence[Batch]) -> bool:
    return len({part[leaf].shape[1:] for part in parts}) > 1


def _together(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _flat(parts: Sequence[Tensor], lengths: Tensor) -> Tensor:
    """[R ...] of parts [n T ...], each with a T of its own."""
    sizes = lengths.split([len(part) for part in parts])
    return torch.cat([part[real_steps(size, part.shape[1])] for part, size in zip(parts, sizes, strict=True)])


def _rectangle(parts: Sequence[Tensor], steps: int, fill: float) -> Tensor:
    """[N T ...] of parts [n T ...], each with a T of its own."""
    if len(parts) == 1:
        return parts[0][:, :steps]
    whole = parts[0].new_full((sum(map(len, parts)), steps, *parts[0].shape[2:]), fill)
    start = 0
    for part in parts:
        whole[start : start + len(part), : part.shape[1]] = part[:, :steps]
        start += len(part)
    return whole


def _fills(along: Iterable[str], parts: Iterable[Batch]) -> dict[str, float]:
    """The value of all padding of each leaf, where it is one value."""
    leaves = list(along)
    found: dict[str, set[float]] = {leaf: set() for leaf in leaves}
    for part in parts:
        for leaf, values in paddings(part, leaves).items():
            found[leaf] |= values
    return {leaf: next(iter(values), 0) for leaf, values in found.items() if len(values) < 2}


def paddings(part: Batch, leaves: Iterable[str]) -> dict[str, set[float]]:
    """The value that all padding of a leaf has: none where there is no padding, two of several."""
    mask = part["mask"]
    real = real_steps(lengths_of(mask), mask.shape[1]).numpy()
    if real.all():
        return {leaf: set() for leaf in leaves}
    row, step = np.unravel_index(int(real.argmin()), real.shape)  # of the first that is padding
    found: dict[str, set[float]] = {}
    for leaf in leaves:
        values = part[leaf].numpy()
        first = values[row, step].flat[0]
        # Compared as it lies: to gather the padding of long texts takes ten times as long.
        same = values == first
        same |= real.reshape(*real.shape, *(1,) * (values.ndim - 2))
        found[leaf] = {first.item()} if same.all() else {-inf, inf}
    return found


def lengths_of(mask: Tensor) -> Tensor:
    """[n]: the place behind the last True of each row of a mask [n T]; of a mask [n] whether it is True."""
    if mask.ndim == 1:
        return mask.long()
    if not mask.shape[1]:
        return mask.new_zeros(len(mask)).long()
    flags = mask.numpy()
    last = flags.shape[1] - flags[:, ::-1].argmax(1)  # of a row without any, T
    return torch.from_numpy(np.where(flags.any(1), last, 0))


def _along(leaf: Tensor, mask: Tensor) -> bool:
    return mask.ndim == 2 and leaf.ndim >= 2 and leaf.shape[1] == mask.shape[1]


def alike(one: Batch, other: Batch) -> bool:
    """Whether two parts of a split can be joined: the same leaves of the same shapes, but for N and T."""

    def shape(batch: Batch, leaf: str) -> tuple[object, ...]:
        tensor = batch[leaf]
        return (tensor.dtype, tensor.ndim, *tensor.shape[2 if _along(tensor, batch["mask"]) else 1 :])

    def both(leaf: str) -> bool:
        return shape(one, leaf) == shape(other, leaf) or one[leaf].shape[1:] == other[leaf].shape[1:]

    return one.keys() == other.keys() and all(map(both, one))


def bytes_of(batch: Batch) -> float:
    """Bytes of a batch, without its padding."""
    mask = batch["mask"]
    share = float(lengths_of(mask).sum()) / max(mask.numel(), 1) if mask.ndim == 2 else 1.0
    return sum(leaf.nbytes * (share if _along(leaf, mask) else 1) for leaf in batch.values())
