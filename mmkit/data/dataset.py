"""A split as a data set: batched by index, each input read in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Samples, Transform
from mmkit.data.bad_values import TRUTH
from mmkit.data.placing import on
from mmkit.data.readings import Copies, InputBatch, Live, Reading, reading
from mmkit.data.whole import Whole, whole


@dataclass(frozen=True)
class Dataset:
    """One split, ready to be batched by index.

    Args:
        size: number of samples.
        inputs: the reading of each input.
        truth: of the whole split.
    """

    size: int
    inputs: Mapping[str, Reading]
    truth: Batch

    @staticmethod
    def of(samples: Samples, inputs: Mapping[str, Transform], truth: Transform, *, augment: bool) -> Dataset:
        """A data set of decoded samples. With `augment`, transforms that augment run at every batch.

        Raises:
            RejectedError: a transform rejects values.
            ContractError: a batch has no bool leaf `mask`, or another number of rows.
        """
        ids = samples.ids
        readings = {n: reading(n, t, samples.inputs[n], ids, augment=augment) for n, t in inputs.items()}
        return Dataset(len(samples), readings, whole(TRUTH, truth, samples.truth, ids, of_truth=True).leaves)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.truth["mask"].device

    @cached_property
    def live(self) -> dict[str, Live]:
        """The readings that are transformed when asked, which threads make ahead."""
        return {name: one for name, one in self.inputs.items() if isinstance(one, Live)}

    @cached_property
    def copies(self) -> dict[str, Copies]:
        """The readings of inputs that have copies."""
        return {name: one for name, one in sorted(self.inputs.items()) if isinstance(one, Copies)}

    def to(self, device: torch.device) -> Dataset:
        """The data set with its tensors on a device."""
        return Dataset(self.size, {name: one.to(device) for name, one in self.inputs.items()}, on(self.truth, device))

    def grouped(self, names: Iterable[str]) -> Dataset:
        """The data set with batches of these inputs alone in groups, where that saves work; see `Grouped`."""
        names = set(names)
        inputs = {
            n: replace(one, grouped=n in names) if isinstance(one, Whole) else one for n, one in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def draw_copies(self, generator: Generator) -> Dataset:
        """The data set of an epoch: with one of the copies, chosen at random, of each input that has copies."""
        chosen = {name: one.draw(generator) for name, one in self.copies.items()}
        return replace(self, inputs={**self.inputs, **chosen})

    def batch(
        self,
        index: Tensor,
        generator: Generator | None = None,
        *,
        host: Tensor | None = None,
        ahead: Mapping[str, Batch] | None = None,
    ) -> tuple[dict[str, InputBatch], Batch]:
        """The batch or the features of each input, and the truth, of the samples `index` [B].

        Args:
            index: of the samples.
            generator: random generator of the augmentation.
            host: the same index on the host, where the caller has it; else the device may have to be waited for.
            ahead: what `made_ahead` gave for the same index; None makes it now.

        Raises:
            RejectedError: a transform rejects values.
            ContractError: its batch has no bool leaf `mask`, or another number of rows.
        """
        device = self.device
        placed = index.to(device)
        host = index if host is None and index.device.type == "cpu" else host
        ahead = ahead or {}
        batch = {
            name: on(ahead[name], device) if name in ahead else one.rows(placed, generator, host=host)
            for name, one in self.inputs.items()
        }
        return batch, {name: leaf.index_select(0, placed) for name, leaf in self.truth.items()}

    def made_ahead(self, index: Tensor, generator: Generator | None = None) -> dict[str, Batch]:
        """The batches of live readings, on the host; in pinned memory if the device is CUDA. Thread-safe.

        Raises:
            RejectedError: a transform rejects values.
            ContractError: a batch has no bool leaf `mask`, or another number of rows.
        """
        return {name: one.made(index, generator) for name, one in self.live.items()}

    def batches(self, size: int) -> list[Tensor]:
        """The indices of consecutive batches."""
        return list(torch.arange(self.size).split(size))
