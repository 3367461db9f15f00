"""The splits of a task: read, decoded, and without the values that cannot be used.

A split is known by its content as soon as it is read, before it is decoded. So the content of the test split may be
hashed before anything is trained: nothing is fitted on a hash, and its values are decoded and looked at last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mmkit.contract import Modality, Samples, Split, Task
from mmkit.data.bad_values import BadValue, RejectedError, without
from mmkit.data.content import SplitContent, content_of_split
from mmkit.data.decoding import decode_all
from mmkit.data.door import in_both, plain_samples
from mmkit.data.subset import small_subset, with_truth
from mmkit.errors import DataError
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.system.settings import Settings
from mmkit.system.state import own_state

_T = TypeVar("_T")


class Splits:
    """The splits of a task, each read and decoded at its first use, then kept.

    Args:
        task: the task.
        modalities: of each input.
        settings: `limit` and `on_error` are used.
    """

    def __init__(self, task: Task, modalities: Mapping[str, Modality], settings: Settings | None = None) -> None:
        self.task = task
        self.modalities = modalities
        self.settings = settings or Settings()
        self._raw: dict[Split, Samples] = {}
        self._content: dict[Split, SplitContent] = {}
        self.columns: dict[Split, list[str]] = {}
        """The inputs that the task gave of each split, which may lack some."""
        self._read: dict[Split, Samples] = {}
        self._ids: dict[Split, Sequence[Any]] = {}
        self._unread: dict[Split, list[BadValue]] = {}
        self._with_truth: dict[Split, Samples] = {}
        self._kept: dict[Split, Samples] = {}
        self._rejected: dict[Split, list[BadValue]] = {}

    def __call__(self, name: Split) -> Samples:
        """The samples of a split, with all values decoded.

        Raises:
            DataError: a value cannot be read, or no sample is left.
        """
        if name not in self._read:
            self.content(name)
            samples = self._raw[name]
            if self.settings.limit is not None and name == "train":
                samples = small_subset(samples, self.settings.limit)
            kinds = getattr(self.task, "inputs", {})
            self._read[name], self._unread[name] = decode_all(samples, self.modalities, self.settings.on_error, kinds)
            del self._raw[name]
        samples = self._kept.get(name, self._read[name])
        if not len(samples):
            raise DataError(f"no sample of the {name} split can be used: {self.unread[name][0]}, ...")
        return samples

    def raw(self, name: Split) -> Samples:
        """The samples of a split as the task gives them, with plain ids; of the training split all, whatever the limit.

        Raises:
            DataError: as `content`.
        """
        self.content(name)
        return self._raw.get(name) or self._given(name)

    def _given(self, name: Split) -> Samples:
        with own_state(seed=0):
            samples = plain_samples(self.task.split(name))
        if not len(samples):
            raise DataError(f"the {name} split of the task has no samples")
        return samples

    def content(self, name: Split) -> SplitContent:
        """What the task gives for a split, known by its content; of the training split all, whatever the limit.

        Nothing is decoded, and each split is hashed once, for all runs.

        Raises:
            DataError: the split has no samples, or one of them is in another split, too.
        """
        if name not in self._content:
            samples = self._given(name)
            self._check_ids(name, samples)
            self.columns[name] = list(samples.inputs)
            kinds = getattr(self.task, "inputs", {})
            self._content[name] = content_of_split(samples, {one: kinds.get(one, "") for one in self.modalities})
            self._raw[name] = samples
        return self._content[name]

    def _check_ids(self, name: Split, samples: Samples) -> None:
        for other, ids in self._ids.items():
            here = in_both(samples.ids, ids)
            if here and (shared := {samples.ids[i] for i in here} & set(ids)):
                more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
                raise DataError(
                    f"sample {min(shared, key=str)}{more} of the {name} split {'are' if more else 'is'} in the {other} "
                    "split, too; a sample belongs to one split, and has one id"
                )
        self._ids[name] = samples.ids

    @property
    def unread(self) -> dict[Split, list[BadValue]]:
        """The values that could not be used, by split, one line each."""
        return {name: [*lines, *self._rejected.get(name, ())] for name, lines in self._unread.items()}

    def own(self) -> Splits:
        """A view of the splits for one run, which can drop values that other runs keep."""
        mine = copy.copy(self)  # shares what has been read, and what will be
        mine.__dict__.update(_kept={}, _rejected={})
        return mine

    def retry_without_rejected(self, build: Callable[[Splits], _T]) -> _T:
        """Run `build` on these splits. If it rejects values, drop them as `on_error` says and start over.

        Raises:
            DataError: a value is rejected and `on_error` is "fail", or no sample of a split is left.
        """
        while True:
            try:
                return build(self)
            except RejectedError as rejected:
                name = next((name for name in self._read if rejected.among(self(name))), None)
                if name is None:
                    raise
                self._kept[name] = without(self(name), rejected, self.settings.on_error)
                self._rejected[name] = [*self._rejected.get(name, ()), *rejected.lines]

    def with_truth(self, name: Split) -> Samples:
        """The samples of a split that have truth. All runs get the same object, unless a run has dropped values.

        Raises:
            DataError: no sample has truth.
        """
        if name in self._kept:  # not to be shared
            return with_truth(self(name))
        if name not in self._with_truth:
            known = with_truth(self(name))
            if not len(known):
                split = {"train": "training"}.get(name, name)
                raise DataError(f"no sample of the {split} split has truth; give samples with truth")
            self._with_truth[name] = known
        return self._with_truth[name]


def splits_of(task: Choice, catalog: Catalog, settings: Settings) -> Splits:
    """The splits of a chosen task, with the modalities that decode its inputs."""
    one = built(task)
    modalities = {name: catalog.find("modality", kind).load()() for name, kind in one.inputs.items()}
    return Splits(one, modalities, settings)


def built(task: Choice) -> Task:
    """A chosen task, with its options."""
    one: Task = task.component(**task.part(task.component))
    return one
