"""A split, transformed once where that is the same every time, and batched by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Features, Samples, Transform
from mmkit.data.bad_values import TRUTH, transform_batch
from mmkit.data.packed import Packed

Given = Batch | Features
"""What a model is given of an input: a batch, or what its frozen encoder made of it."""


@dataclass(frozen=True)
class Dataset:
    """One split, ready to be batched by index.

    Args:
        size: samples.
        fixed: batches of the whole split, of inputs whose transform gives the same every time.
        augmented: of the other inputs, the values in memory and their transform.
        ready: features of inputs whose encoder is frozen, in the place of batches.
        copies: of inputs whose encoder is frozen and whose samples are augmented, features of several copies.
        truth: of the whole split.
        ids: of the samples, to name them by.
    """

    size: int
    fixed: dict[str, Batch]
    truth: Batch
    augmented: dict[str, tuple[Sequence[Any], Transform]] = field(default_factory=dict)
    ready: dict[str, Packed] = field(default_factory=dict)
    copies: dict[str, list[Packed]] = field(default_factory=dict)
    ids: Sequence[str] = ()

    @staticmethod
    def of(samples: Samples, inputs: Mapping[str, Transform], truth: Transform, *, augment: bool) -> Dataset:
        """The samples, decoded, as a data set; with `augment`, what augments is transformed anew at every batch.

        Raises:
            RejectedError: values that a transform does not take.
            ContractError: a transform keeps no bool leaf `mask`, or gives another number of rows.
        """
        ids = samples.ids
        augmented = {n: (samples.inputs[n], t) for n, t in inputs.items() if augment and t.augments}
        fixed = {
            n: transform_batch(n, t, samples.inputs[n], column=samples.inputs[n], ids=ids)
            for n, t in inputs.items()
            if n not in augmented
        }
        known = transform_batch(TRUTH, truth, samples.truth, column=samples.truth, ids=ids, of_truth=True)
        return Dataset(len(samples), fixed, known, augmented, ids=ids)

    def to(self, device: torch.device) -> Dataset:
        """The same with its tensors on `device`."""
        fixed = {name: on(batch, device) for name, batch in self.fixed.items()}
        ready = {name: stored.to(device) for name, stored in self.ready.items()}
        copies = {name: [one.to(device) for one in several] for name, several in self.copies.items()}
        return replace(self, fixed=fixed, ready=ready, copies=copies, truth=on(self.truth, device))

    def draw_copies(self, generator: Generator) -> Dataset:
        """The data of an epoch: of each input that has copies, one of them."""
        chosen = {
            name: several[int(torch.randint(len(several), (), generator=generator))]
            for name, several in sorted(self.copies.items())
        }
        return replace(self, ready=self.ready | chosen, copies={})

    def batch(
        self, index: Tensor, generator: Generator | None = None, fresh: dict[str, Batch] | None = None
    ) -> tuple[dict[str, Given], Batch]:
        """The rows of `index` [B]: each input's batch or features, and the truth.

        Args:
            index: of the samples.
            generator: that augmentation is drawn from.
            fresh: what `fresh` made of the same index; None makes it now.

        Raises:
            RejectedError: as `of`, of a transform that augments; so is the next.
            ContractError: as above.
        """
        place = self.truth["mask"].device
        here = index.to(place)
        batch: dict[str, Given] = {name: rows(whole, here) for name, whole in self.fixed.items()}
        batch |= {name: stored.rows(here) for name, stored in self.ready.items()}
        fresh = self.fresh(index, generator) if fresh is None else fresh
        batch |= {name: on(made, place) for name, made in fresh.items()}
        return batch, rows(self.truth, here)

    def fresh(self, index: Tensor, generator: Generator | None = None) -> dict[str, Batch]:
        """What is transformed anew for a batch, on the host; pinned where the device is CUDA's. Any thread may ask."""
        found = {}
        for name, (values, transform) in self.augmented.items():
            chosen = [values[i] for i in index.tolist()]
            ids = self.ids or [str(i) for i in range(self.size)]
            made = transform_batch(name, transform, chosen, generator, column=values, ids=ids)
            found[name] = pinned(made) if self.truth["mask"].is_cuda else made
        return found

    def batches(self, size: int) -> list[Tensor]:
        """Indices of consecutive batches."""
        return list(torch.arange(self.size).split(size))


def rows(batch: Batch, index: Tensor) -> Batch:
    """Those rows of every leaf."""
    return {name: leaf.index_select(0, index) for name, leaf in batch.items()}


def on(batch: Batch, device: torch.device) -> Batch:
    """Every leaf on the device; ready to be read, where that is the CPU."""
    return {name: leaf.to(device, non_blocking=device.type != "cpu") for name, leaf in batch.items()}


def pinned(batch: Batch) -> Batch:
    """Every leaf in pinned memory, from where the device fetches it by itself."""
    return {name: leaf.pin_memory() for name, leaf in batch.items()}
