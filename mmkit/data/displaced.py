"""A split with something done to one of its inputs: missing everywhere, or with the values of other samples.

Both leave the other inputs, the truth and the order of the samples as they are.

Axes: N samples of the split, B of a batch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Features
from mmkit.data.dataset import Dataset
from mmkit.data.grouping import Grouped
from mmkit.data.readings import InputBatch, Reading


@dataclass(frozen=True)
class Absent:
    """An input that is missing in every sample: its mask says so, and nothing else does.

    Args:
        of: the reading of the input.
    """

    of: Reading

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> InputBatch:
        """The rows of the samples `index` [B]; see `Reading`."""
        given = self.of.rows(index, generator, host=host)
        if isinstance(given, Features):
            return Features.of(given.tokens, torch.zeros_like(given.mask), given.pooled)
        if isinstance(given, Grouped):
            return replace(given, groups=[_masked(group) for group in given.groups])
        return _masked(given)

    def to(self, device: torch.device) -> Absent:
        """The same on a device."""
        return Absent(self.of.to(device))


@dataclass(frozen=True)
class Displaced:
    """An input of which samples have the values of other samples.

    Args:
        of: the reading of the input.
        source: [N], whose value each sample has; on the host.
    """

    of: Reading
    source: Tensor

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> InputBatch:
        """The rows of the samples `index` [B]; see `Reading`."""
        taken = self.source[index.cpu() if host is None else host]
        return self.of.rows(taken.to(index.device), generator, host=taken)

    def to(self, device: torch.device) -> Displaced:
        """The same on a device."""
        return Displaced(self.of.to(device), self.source)


def without(data: Dataset, names: Collection[str]) -> Dataset:
    """The split with some of its inputs missing in every sample."""
    return replace(data, inputs={n: Absent(one) if n in names else one for n, one in data.inputs.items()})


def displaced(data: Dataset, name: str, share: float, generator: Generator) -> Dataset:
    """The split in which a share of the samples has another sample's value of one input.

    Args:
        data: the split.
        name: of the input.
        share: of the samples, 0 to 1; a larger one holds those of a smaller one, if the generator begins alike.
        generator: draws the samples.
    """
    order = torch.randperm(data.size, generator=generator)
    chosen = order[: round(share * data.size)]
    source = torch.arange(data.size)
    # One circle, so that nobody keeps its own; one sample alone is none, and has that of the last.
    source[chosen] = chosen.roll(1) if len(chosen) != 1 else order[-1:]
    return replace(data, inputs={**data.inputs, name: Displaced(data.inputs[name], source)})


def _masked(batch: Batch) -> Batch:
    return {**batch, "mask": torch.zeros_like(batch["mask"])}
