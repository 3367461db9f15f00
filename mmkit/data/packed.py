"""The features of a whole split, packed: only real tokens are kept, one sample after the other.

Axes: B samples of a batch, N samples of the split, R real tokens of all of them, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mmkit.contract import Features

_TOGETHER = 1024
"""Samples of which all tokens are looked at at once."""


@dataclass(frozen=True)
class Packed:
    """The features of all samples of a split.

    Args:
        tokens: [R D].
        offsets: [N + 1]; those of sample i are tokens[offsets[i]:offsets[i + 1]].
        pooled: [N D], or None.
        length: tokens of every sample, where all have as many; else None.
    """

    tokens: Tensor
    offsets: Tensor
    pooled: Tensor | None
    length: int | None

    @staticmethod
    def of(tokens: Tensor, offsets: Tensor, pooled: Tensor | None) -> Packed:
        """The features, with the common length found out."""
        lengths = offsets.diff()
        same = bool(len(lengths)) and bool((lengths == lengths[0]).all()) and int(lengths[0]) > 0
        return Packed(tokens, offsets, pooled, int(lengths[0]) if same else None)

    @cached_property
    def vectors(self) -> Packed:
        """The `vector()` of each sample in the place of its tokens: none where it has none."""
        there = self.offsets.diff() > 0
        if self.pooled is not None:
            values = self.pooled if bool(there.all()) else self.pooled[there]
        else:
            parts = torch.arange(len(there), device=there.device).split(_TOGETHER)
            values = torch.cat([self.rows(part).vector() for part in parts])[there]
        return Packed.of(values, torch.cat((there.new_zeros(1, dtype=torch.int64), there.cumsum(0))), None)

    def to(self, device: torch.device) -> Packed:
        """The same on a device."""
        if self.tokens.device == device:
            return self
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Packed(self.tokens.to(device), self.offsets.to(device), pooled, self.length)

    def rows(self, index: Tensor) -> Features:
        """The features of those samples: [len(index) T D], padded to the longest of them."""
        pooled = None if self.pooled is None else self.pooled.index_select(0, index)
        if self.length is not None:
            width = self.tokens.shape[1]
            tokens = self.tokens.view(-1, self.length * width).index_select(0, index).view(-1, self.length, width)
            return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), pooled)
        gather = _copied if self.tokens.device.type == "cpu" else _selected
        return Features(*gather(self.tokens, self.offsets, index), pooled)


def _copied(tokens: Tensor, offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """[B T D] and mask [B T], a block of memory for each sample: 2 to 4 times as fast on a CPU as token by token."""
    source, ends, rows = tokens.numpy(), offsets.numpy(), index.numpy()
    start = ends[rows]  # [B]
    lengths = ends[rows + 1] - start
    mask = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
    filled = torch.empty(*mask.shape, source.shape[1], dtype=tokens.dtype)
    for row, first, length in zip(filled.numpy(), start.tolist(), lengths.tolist(), strict=True):
        row[:length] = source[first : first + length]
        row[length:] = 0  # memory is written to once: zeroing all of it first costs as much as copying
    return filled, torch.from_numpy(mask)


def _selected(tokens: Tensor, offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The same in a few operations, whatever B is."""
    start = offsets[index]  # [B]
    lengths = offsets[index + 1] - start
    steps = torch.arange(max(int(lengths.max()), 1), device=index.device)
    mask = steps < lengths.unsqueeze(1)
    if not len(tokens):  # every sample lacks this input
        return tokens.new_zeros(*mask.shape, tokens.shape[1]), mask
    place = (start.unsqueeze(1) + steps).masked_fill_(~mask, 0)  # [B T]
    found = tokens.index_select(0, place.flatten()).view(*mask.shape, tokens.shape[1])
    return found.masked_fill_(~mask.unsqueeze(-1), 0), mask
