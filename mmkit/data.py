"""Samples to batches: decoded once, transformed once where that is the same every time, then batched by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from mmkit.cache import Stored
from mmkit.contract import Batch, Features, Modality, Samples, Split, Task, Transform
from mmkit.errors import ContractError, DataError

Given = Batch | Features
"""What a model is given of an input: a batch, or what its frozen encoder made of it."""
OnError = Literal["fail", "missing"]


def decoded(
    samples: Samples, modalities: Mapping[str, Modality], on_error: OnError = "fail"
) -> tuple[Samples, list[str]]:
    """The samples with every value in memory, and what could not be read and counts as missing.

    Args:
        samples: raw; an input that they lack is all None.
        modalities: of each input.
        on_error: "fail" raises at the first value that cannot be read, "missing" takes None instead.

    Raises:
        DataError: a value cannot be read, or a column has not one value a sample; it names sample and input.
    """
    if len(samples.truth) != len(samples):
        raise DataError(f"truth has {len(samples.truth)} values for {len(samples)} samples; give one a sample, or None")
    columns: dict[str, Sequence[Any]] = {}
    unread = []
    for name, modality in modalities.items():
        column = samples.inputs.get(name, [None] * len(samples))
        if len(column) != len(samples):
            raise DataError(
                f"input {name} has {len(column)} values for {len(samples)} samples; give one a sample, or None"
            )
        values = []
        for sample, raw in zip(samples.ids, column, strict=True):
            try:
                values.append(None if raw is None else modality.decode(raw))
            except DataError as error:
                message = f"sample {sample}, input {name}: {error}"
                if on_error == "fail":
                    raise DataError(f"{message}; --on-error missing goes on without such values") from error
                unread.append(message)
                values.append(None)
        columns[name] = values
    return replace(samples, inputs=columns), unread


class Splits:
    """The splits of a task, each read and decoded when first asked for, then kept.

    Args:
        task: the task.
        modalities: of each input.
        on_error: what becomes of a value that cannot be read.
        limit: at most so many samples of the training split, taken in its order; None is all.
    """

    def __init__(
        self, task: Task, modalities: Mapping[str, Modality], on_error: OnError = "fail", limit: int | None = None
    ) -> None:
        self.task = task
        self.modalities = modalities
        self.on_error: OnError = on_error
        self.limit = limit
        self.unread: dict[str, list[str]] = {}
        self._read: dict[str, Samples] = {}

    def __call__(self, name: Split) -> Samples:
        """The samples of a split, with every value in memory."""
        if name not in self._read:
            samples = self.task.split(name)
            if not len(samples):
                raise DataError(f"the {name} split of the task has no samples")
            if self.limit is not None and name == "train":
                samples = first(samples, self.limit)
            self._read[name], self.unread[name] = decoded(samples, self.modalities, self.on_error)
        return self._read[name]


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples."""
    return Samples(
        samples.ids[:count],
        {name: column[:count] for name, column in samples.inputs.items()},
        samples.truth[:count],
        None if samples.groups is None else samples.groups[:count],
    )


def with_truth(samples: Samples) -> Samples:
    """Those samples that have truth."""
    kept = [i for i, truth in enumerate(samples.truth) if truth is not None]

    def pick(column: Sequence[Any]) -> list[Any]:
        return [column[i] for i in kept]

    return Samples(
        pick(samples.ids),
        {name: pick(column) for name, column in samples.inputs.items()},
        pick(samples.truth),
        None if samples.groups is None else pick(samples.groups),
    )


@dataclass(frozen=True)
class Dataset:
    """One split, ready to be batched by index.

    Args:
        size: samples.
        still: batches of the whole split, of inputs whose transform gives the same every time.
        moving: of the other inputs, the values in memory and their transform.
        ready: features of inputs whose encoder is frozen, in the place of batches.
        truth: of the whole split.
    """

    size: int
    still: dict[str, Batch]
    truth: Batch
    moving: dict[str, tuple[Sequence[Any], Transform]] = field(default_factory=dict)
    ready: dict[str, Stored] = field(default_factory=dict)

    @staticmethod
    def of(samples: Samples, inputs: Mapping[str, Transform], truth: Transform, *, augment: bool) -> Dataset:
        """The samples, decoded, as a data set; with `augment`, what augments is transformed anew at every batch.

        Raises:
            ContractError: a transform keeps no bool leaf `mask`, or gives another number of rows.
        """
        moving = {n: (samples.inputs[n], t) for n, t in inputs.items() if augment and t.augments}
        still = {n: checked(n, t(samples.inputs[n]), len(samples)) for n, t in inputs.items() if n not in moving}
        return Dataset(len(samples), still, checked("truth", truth(samples.truth), len(samples)), moving)

    def to(self, device: torch.device) -> Dataset:
        """The same with its tensors on `device`."""
        still = {name: on(batch, device) for name, batch in self.still.items()}
        ready = {name: stored.to(device) for name, stored in self.ready.items()}
        return replace(self, still=still, ready=ready, truth=on(self.truth, device))

    def batch(self, index: Tensor, generator: Generator | None = None) -> tuple[dict[str, Given], Batch]:
        """The rows of `index` [B]: each input's batch or features, and the truth; the generator draws augmentation.

        Raises:
            ContractError: as `of`, of a transform that augments.
        """
        place = self.truth["mask"].device
        here = index.to(place)
        batch: dict[str, Given] = {name: rows(whole, here) for name, whole in self.still.items()}
        batch |= {name: stored.rows(here) for name, stored in self.ready.items()}
        if self.moving:
            chosen = index.tolist()
            for name, (values, transform) in self.moving.items():
                fresh = transform([values[i] for i in chosen], generator)
                batch[name] = on(checked(name, fresh, len(chosen)), place)
        return batch, rows(self.truth, here)

    def batches(self, size: int) -> list[Tensor]:
        """Indices of consecutive batches."""
        return list(torch.arange(self.size).split(size))


def rows(batch: Batch, index: Tensor) -> Batch:
    """Those rows of every leaf."""
    return {name: leaf.index_select(0, index) for name, leaf in batch.items()}


def on(batch: Batch, device: torch.device) -> Batch:
    """Every leaf on the device."""
    return {name: leaf.to(device, non_blocking=True) for name, leaf in batch.items()}


def checked(name: str, batch: Batch, size: int) -> Batch:
    """The batch, if it keeps the contract."""
    mask = batch.get("mask")
    if mask is None or mask.dtype != torch.bool:
        raise ContractError(
            f"the transform of {name} gave no bool leaf `mask`; it gave {', '.join(batch) or 'nothing'}"
        )
    for leaf, tensor in batch.items():
        if tensor.shape[:1] != (size,):
            given = f"{len(tensor)} rows" if tensor.ndim else "a single number"
            raise ContractError(f"the transform of {name} gave {given} of `{leaf}` for {size} values")
    return batch
