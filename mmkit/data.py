"""Samples to batches: decoded once, transformed once where that is the same every time, then batched by index."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from mmkit.contract import Batch, Features, Modality, Samples, Split, Task, Transform
from mmkit.errors import DataError
from mmkit.features.stored import Stored
from mmkit.loader import Loader
from mmkit.refused import TRUTH, OnError, RefusedError, picked, transformed, without

Given = Batch | Features
"""What a model is given of an input: a batch, or what its frozen encoder made of it."""
_T = TypeVar("_T")


def decoded(
    samples: Samples, modalities: Mapping[str, Modality], on_error: OnError = "fail"
) -> tuple[Samples, list[str]]:
    """The samples with every value in memory, and what could not be read.

    Args:
        samples: raw; an input that they lack is all None.
        modalities: of each input; several threads decode where that takes its time.
        on_error: "fail" raises at the first value that cannot be read, "skip" leaves its sample out, "missing" takes
            None instead.

    Raises:
        DataError: a value cannot be read, or a column has not one value a sample; it names sample and input.
    """
    if len(samples.truth) != len(samples):
        raise DataError(f"truth has {len(samples.truth)} values for {len(samples)} samples; give one a sample, or None")
    if len(set(samples.ids)) < len(samples):
        twice = next(id_ for id_, count in Counter(samples.ids).items() if count > 1)
        raise DataError(f"sample {twice} is there {samples.ids.count(twice)} times; give each sample an id of its own")
    columns: dict[str, Sequence[Any]] = {}
    unread: list[str] = []
    left_out: set[str] = set()
    for name, modality in modalities.items():
        column = samples.inputs.get(name, [None] * len(samples))
        if len(column) != len(samples):
            raise DataError(
                f"input {name} has {len(column)} values for {len(samples)} samples; give one a sample, or None"
            )
        values = []
        with Loader() as load:
            for sample, value in zip(samples.ids, load(partial(_read, modality, column), len(samples)), strict=True):
                if isinstance(value, DataError):
                    refused = RefusedError(name, {sample: str(value)}, unread=True)
                    if on_error == "fail":
                        raise refused from value
                    unread += refused.lines
                    left_out.add(sample)
                values.append(None if isinstance(value, DataError) else value)
        columns[name] = values
    samples = replace(samples, inputs=columns)
    if on_error == "skip" and left_out:
        samples = picked(samples, [i for i, sample in enumerate(samples.ids) if sample not in left_out])
    return samples, unread


def _read(modality: Modality, column: Sequence[Any], index: int) -> Any:
    """A value in memory, None, or the error that says why it is not there."""
    try:
        return None if column[index] is None else modality.decode(column[index])
    except DataError as error:
        return error


class Splits:
    """The splits of a task, each read and decoded when first asked for, then kept.

    Args:
        task: the task.
        modalities: of each input.
        on_error: what becomes of a value that cannot be read or transformed.
        limit: at most so many samples of the training split; None is all.
    """

    def __init__(
        self, task: Task, modalities: Mapping[str, Modality], on_error: OnError = "fail", limit: int | None = None
    ) -> None:
        self.task = task
        self.modalities = modalities
        self.on_error: OnError = on_error
        self.limit = limit
        self._read: dict[Split, Samples] = {}
        self._unread: dict[Split, list[str]] = {}
        self._known: dict[Split, Samples] = {}
        self._left: dict[Split, Samples] = {}
        self._refused: dict[Split, list[str]] = {}

    def __call__(self, name: Split) -> Samples:
        """The samples of a split, with every value in memory."""
        if name not in self._read:
            samples = self.task.split(name)
            if not len(samples):
                raise DataError(f"the {name} split of the task has no samples")
            if self.limit is not None and name == "train":
                samples = few(samples, self.limit)
            self._read[name], self._unread[name] = decoded(samples, self.modalities, self.on_error)
        left = self._left.get(name, self._read[name])
        if not len(left):
            raise DataError(f"no sample of the {name} split is left: {self.unread[name][0]}, ...")
        return left

    @property
    def unread(self) -> dict[Split, list[str]]:
        """What could not be used, by split: a line a value."""
        return {name: [*lines, *self._refused.get(name, ())] for name, lines in self._unread.items()}

    def own(self) -> Splits:
        """The same splits for one run, which may leave out values that others can use."""
        mine = copy.copy(self)  # what was read, or will be, is shared
        mine.__dict__.update(_left={}, _refused={})
        return mine

    def use(self, what: Callable[[Splits], _T]) -> _T:
        """What is made of these splits, begun anew without the values that it refuses, as `on_error` says.

        Raises:
            DataError: a value is refused and `on_error` is "fail", or no sample of a split is left.
        """
        while True:
            try:
                return what(self)
            except RefusedError as refused:
                name = next((name for name in self._read if refused.among(self(name))), None)
                if name is None:
                    raise
                self._left[name] = without(self(name), refused, self.on_error)
                self._refused[name] = [*self._refused.get(name, ()), *refused.lines]

    def with_truth(self, name: Split) -> Samples:
        """Those of them that have truth: the same lists for all runs, by which these know what they share.

        Raises:
            DataError: none has.
        """
        if name in self._left:  # what this run leaves out, others may use
            return with_truth(self(name))
        if name not in self._known:
            known = with_truth(self(name))
            if not len(known):
                split = {"train": "training"}.get(name, name)
                raise DataError(f"no sample of the {split} split has truth; give some that have")
            self._known[name] = known
        return self._known[name]


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples."""
    return picked(samples, range(min(count, len(samples))))


def few(samples: Samples, count: int) -> Samples:
    """Some of the samples, in order: the first of each class and with each input, lest one is lost, then the rest.

    Args:
        samples: in no order of class.
        count: how many, at most.
    """
    firsts: dict[str, int] = {}
    for i, truth in enumerate(samples.truth):
        if isinstance(truth, str):
            firsts.setdefault(truth, i)
    shown = (next((i for i, value in enumerate(column) if value is not None), 0) for column in samples.inputs.values())
    wanted = dict.fromkeys([*firsts.values(), *shown, *range(len(samples))])
    return picked(samples, sorted(list(wanted)[:count]))


def with_truth(samples: Samples) -> Samples:
    """Those samples that have truth."""
    return picked(samples, [i for i, truth in enumerate(samples.truth) if truth is not None])


@dataclass(frozen=True)
class Dataset:
    """One split, ready to be batched by index.

    Args:
        size: samples.
        still: batches of the whole split, of inputs whose transform gives the same every time.
        moving: of the other inputs, the values in memory and their transform.
        ready: features of inputs whose encoder is frozen, in the place of batches.
        copies: of inputs whose encoder is frozen and whose samples are augmented, features of several copies.
        truth: of the whole split.
        ids: of the samples, to name them by.
    """

    size: int
    still: dict[str, Batch]
    truth: Batch
    moving: dict[str, tuple[Sequence[Any], Transform]] = field(default_factory=dict)
    ready: dict[str, Stored] = field(default_factory=dict)
    copies: dict[str, list[Stored]] = field(default_factory=dict)
    ids: Sequence[str] = ()

    @staticmethod
    def of(samples: Samples, inputs: Mapping[str, Transform], truth: Transform, *, augment: bool) -> Dataset:
        """The samples, decoded, as a data set; with `augment`, what augments is transformed anew at every batch.

        Raises:
            RefusedError: values that a transform does not take.
            ContractError: a transform keeps no bool leaf `mask`, or gives another number of rows.
        """
        ids = samples.ids
        moving = {n: (samples.inputs[n], t) for n, t in inputs.items() if augment and t.augments}
        still = {
            n: transformed(n, t, samples.inputs[n], column=samples.inputs[n], ids=ids)
            for n, t in inputs.items()
            if n not in moving
        }
        known = transformed(TRUTH, truth, samples.truth, column=samples.truth, ids=ids, of_truth=True)
        return Dataset(len(samples), still, known, moving, ids=ids)

    def to(self, device: torch.device) -> Dataset:
        """The same with its tensors on `device`."""
        still = {name: on(batch, device) for name, batch in self.still.items()}
        ready = {name: stored.to(device) for name, stored in self.ready.items()}
        copies = {name: [one.to(device) for one in several] for name, several in self.copies.items()}
        return replace(self, still=still, ready=ready, copies=copies, truth=on(self.truth, device))

    def drawn(self, generator: Generator) -> Dataset:
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
            RefusedError: as `of`, of a transform that augments; so is the next.
            ContractError: as above.
        """
        place = self.truth["mask"].device
        here = index.to(place)
        batch: dict[str, Given] = {name: rows(whole, here) for name, whole in self.still.items()}
        batch |= {name: stored.rows(here) for name, stored in self.ready.items()}
        fresh = self.fresh(index, generator) if fresh is None else fresh
        batch |= {name: on(made, place) for name, made in fresh.items()}
        return batch, rows(self.truth, here)

    def fresh(self, index: Tensor, generator: Generator | None = None) -> dict[str, Batch]:
        """What is transformed anew for a batch, on the host; pinned where the device is CUDA's. Any thread may ask."""
        found = {}
        for name, (values, transform) in self.moving.items():
            chosen = [values[i] for i in index.tolist()]
            ids = self.ids or [str(i) for i in range(self.size)]
            made = transformed(name, transform, chosen, generator, column=values, ids=ids)
            found[name] = pinned(made) if self.truth["mask"].is_cuda else made
        return found

    def batches(self, size: int) -> list[Tensor]:
        """Indices of consecutive batches."""
        return list(torch.arange(self.size).split(size))


def rows(batch: Batch, index: Tensor) -> Batch:
    """Those rows of every leaf."""
    return {name: leaf.index_select(0, index) for name, leaf in batch.items()}


def on(batch: Batch, device: torch.device) -> Batch:
    """Every leaf on the device."""
    return {name: leaf.to(device, non_blocking=True) for name, leaf in batch.items()}


def pinned(batch: Batch) -> Batch:
    """Every leaf in pinned memory, from where the device fetches it by itself."""
    return {name: leaf.pin_memory() for name, leaf in batch.items()}
