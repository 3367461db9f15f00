"""The splits of a task, and what of them can be used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

from mmkit.contract import Modality, Samples, Split, Task
from mmkit.data.bad_values import RejectedError, without
from mmkit.data.decoding import decode_all
from mmkit.data.door import plain_samples
from mmkit.data.subset import small_subset, with_truth
from mmkit.errors import DataError
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.system.settings import Settings

_T = TypeVar("_T")


class Splits:
    """The splits of a task, each read and decoded when first asked for, then kept.

    Args:
        task: the task.
        modalities: of each input.
        settings: of them, `limit` and `on_error` are read.
    """

    def __init__(self, task: Task, modalities: Mapping[str, Modality], settings: Settings | None = None) -> None:
        self.task = task
        self.modalities = modalities
        self.settings = settings or Settings()
        self._read: dict[Split, Samples] = {}
        self._unread: dict[Split, list[str]] = {}
        self._known: dict[Split, Samples] = {}
        self._left: dict[Split, Samples] = {}
        self._refused: dict[Split, list[str]] = {}

    def __call__(self, name: Split) -> Samples:
        """The samples of a split, with every value in memory."""
        if name not in self._read:
            samples = plain_samples(self.task.split(name))
            if not len(samples):
                raise DataError(f"the {name} split of the task has no samples")
            if self.settings.limit is not None and name == "train":
                samples = small_subset(samples, self.settings.limit)
            self._read[name], self._unread[name] = decode_all(samples, self.modalities, self.settings.on_error)
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

    def retry_without_rejected(self, what: Callable[[Splits], _T]) -> _T:
        """What is made of these splits, begun anew without the values that it refuses, as `on_error` says.

        Raises:
            DataError: a value is refused and `on_error` is "fail", or no sample of a split is left.
        """
        while True:
            try:
                return what(self)
            except RejectedError as refused:
                name = next((name for name in self._read if refused.among(self(name))), None)
                if name is None:
                    raise
                self._left[name] = without(self(name), refused, self.settings.on_error)
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


def splits_of(task: Choice, catalog: Catalog, settings: Settings) -> Splits:
    """The splits of a chosen task, with the modalities that decode its inputs."""
    made = task.component(**task.part(task.component))
    modalities = {name: catalog.find("modality", kind).load()() for name, kind in made.inputs.items()}
    return Splits(made, modalities, settings)
