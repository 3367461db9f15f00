"""Packed features of a whole split: only real tokens, one sample after the other.

Axes: B samples of a batch, N samples of the split, R real tokens of the split, T tokens of a sample, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from mmkit.contract import Features
from mmkit.data.padding import longest, padded, real_steps

_AT_ONCE = 1024
"""The greatest number of samples that are padded at once."""


@dataclass(frozen=True)
class Packed:
    """The features of all samples of a split, which are a `Reading` of its input.

    Args:
        tokens: [R D].
        offsets: [N + 1]; the tokens of sample i are tokens[offsets[i]:offsets[i + 1]].
        pooled: [N D], or None.
        length: the number of tokens per sample, if all samples have equally many; else None.
    """

    tokens: Tensor
    offsets: Tensor
    pooled: Tensor | None
    length: int | None

    @staticmethod
    def of(tokens: Tensor, offsets: Tensor, pooled: Tensor | None) -> Packed:
        """Packed features, with `length` determined from the offsets."""
        lengths = offsets.diff()
        same = bool(len(lengths)) and bool((lengths == lengths[0]).all()) and int(lengths[0]) > 0
        return Packed(tokens, offsets, pooled, int(lengths[0]) if same else None)

    @cached_property
    def vectors(self) -> Packed:
        """The `vector()` of each sample as its only token; a missing sample has none."""
        present = self.offsets.diff() > 0
        if self.pooled is not None:
            values = self.pooled if bool(present.all()) else self.pooled[present]
        else:
            parts = torch.arange(len(present), device=present.device).split(_AT_ONCE)
            values = torch.cat([self.rows(part).vector() for part in parts])[present]
        return Packed.of(values, torch.cat((present.new_zeros(1, dtype=torch.int64), present.cumsum(0))), None)

    @cached_property
    def lengths(self) -> Tensor:
        """[N]: the number of tokens of each sample, on the host."""
        return self.offsets.diff().cpu()

    def to(self, device: torch.device) -> Packed:
        """The packed features on a device."""
        if self.tokens.device == device:
            return self
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Packed(self.tokens.to(device), self.offsets.to(device), pooled, self.length)

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> Features:  # noqa: ARG002
        """The features [B T D] of the samples `index` [B], padded to the longest of them; see `Reading`."""
        pooled = None if self.pooled is None else self.pooled.index_select(0, index)
        if self.length is not None:
            width = self.tokens.shape[1]
            tokens = self.tokens.view(-1, self.length * width).index_select(0, index).view(-1, self.length, width)
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
            return Features(tokens, mask, pooled, complete=True)
        steps = longest(self.lengths, index.cpu() if host is None else host)
        lengths = self.offsets.index_select(0, index + 1) - self.offsets.index_select(0, index)
        return Features(padded(self.tokens, self.offsets, index, steps), real_steps(lengths, steps), pooled)
