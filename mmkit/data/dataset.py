"""A split as a data set: batched by index, transformed once unless the transform augments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Features, Samples, Transform
from mmkit.data.bad_values import TRUTH, transform_batch
from mmkit.data.packed import Packed

InputBatch = Batch | Features
"""What a model takes of an input: a batch, or the features that its frozen encoder gave."""


@dataclass(frozen=True)
class Dataset:
    """One split, ready to be batched by index.

    Args:
        size: number of samples.
        fixed: batches of the whole split, of inputs that are not augmented.
        augmented: decoded values and transform of inputs that are augmented.
        ready: features of inputs with a frozen encoder, instead of batches.
        copies: features of several augmented copies, of inputs with a frozen encoder that are augmented.
        truth: of the whole split.
        ids: of the samples, for messages.
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
        """A data set of decoded samples. With `augment`, transforms that augment run at every batch.

        Raises:
            RejectedError: a transform rejects values.
            ContractError: a batch has no bool leaf `mask`, or another number of rows.
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
        """The data set with its tensors on a device."""
        fixed = {name: on(batch, device) for name, batch in self.fixed.items()}
        ready = {name: stored.to(device) for name, stored in self.ready.items()}
        copies = {name: [one.to(device) for one in several] for name, several in self.copies.items()}
        return replace(self, fixed=fixed, ready=ready, copies=copies, truth=on(self.truth, device))

    def draw_copies(self, generator: Generator) -> Dataset:
        """The data set of an epoch: with one of the copies, chosen at random, of each input that has copies."""
        chosen = {
            name: several[int(torch.randint(len(several), (), generator=generator))]
            for name, several in sorted(self.copies.items())
        }
        return replace(self, ready=self.ready | chosen, copies={})

    def batch(
        self, index: Tensor, generator: Generator | None = None, transformed: dict[str, Batch] | None = None
    ) -> tuple[dict[str, InputBatch], Batch]:
        """The batch or the features of each input, and the truth, of the samples `index` [B].

        Args:
            index: of the samples.
            generator: random generator of the augmentation.
            transformed: what `transform_augmented` gave for the same index; None calls it.

        Raises:
            RejectedError: a transform that augments rejects values.
            ContractError: its batch has no bool leaf `mask`, or another number of rows.
        """
        device = self.truth["mask"].device
        on_device = index.to(device)
        batch: dict[str, InputBatch] = {name: rows(whole, on_device) for name, whole in self.fixed.items()}
        batch |= {name: stored.rows(on_device) for name, stored in self.ready.items()}
        transformed = self.transform_augmented(index, generator) if transformed is None else transformed
        batch |= {name: on(augmented, device) for name, augmented in transformed.items()}
        return batch, rows(self.truth, on_device)

    def transform_augmented(self, index: Tensor, generator: Generator | None = None) -> dict[str, Batch]:
        """The batches of augmented inputs, on the CPU; in pinned memory if the device is CUDA. Thread-safe.

        Raises:
            RejectedError: a transform rejects values.
            ContractError: a batch has no bool leaf `mask`, or another number of rows.
        """
        batches = {}
        for name, (values, transform) in self.augmented.items():
            chosen = [values[i] for i in index.tolist()]
            ids = self.ids or [str(i) for i in range(self.size)]
            batch = transform_batch(name, transform, chosen, generator, column=values, ids=ids)
            batches[name] = pinned(batch) if self.truth["mask"].is_cuda else batch
        return batches

    def batches(self, size: int) -> list[Tensor]:
        """The indices of consecutive batches."""
        return list(torch.arange(self.size).split(size))


def rows(batch: Batch, index: Tensor) -> Batch:
    """The given rows of every leaf."""
    return {name: leaf.index_select(0, index) for name, leaf in batch.items()}


def on(batch: Batch, device: torch.device) -> Batch:
    """Every leaf on a device. Copies to the CPU are complete when this returns."""
    return {name: leaf.to(device, non_blocking=device.type != "cpu") for name, leaf in batch.items()}


def pinned(batch: Batch) -> Batch:
    """Every leaf in pinned memory, which a device can read asynchronously."""
    return {name: leaf.pin_memory() for name, leaf in batch.items()}
