"""One run of a suite as a job of an executor: what it is given, what it gives back, and what does it.

A job names a run by what it is made of; samples and models are never sent. What the jobs of a part of a suite have in
common (the task, the settings, where components are looked up, the folders) is its `Context`, sent beside each job and
read once by a process. The process makes splits of it as `bench` does, and gives a record only where data, code and
versions are those of the suite: else an error with both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle

from mmkit.contract import Split
from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import Splits, splits_of
from mmkit.errors import DataError, MmkitError
from mmkit.experiments.beside import Beside
from mmkit.experiments.event_files import events_of
from mmkit.experiments.identity import adopt_code, data_of, fold_of
from mmkit.experiments.remembering import remembering
from mmkit.experiments.run import Run, execute, failed
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.trained import MultimodalModel
from mmkit.records.content import changed_columns
from mmkit.records.record import Purpose, Record
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.system.executors.jobs import check_software, ended_early, sendable
from mmkit.system.machine import software
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.training.optimisation import Training


@dataclass(frozen=True)
class Job:
    """One run, and what goes beside it.

    Args:
        name: of the run, for what is shown.
        id: of the run, as the suite knows it.
        combination: that is trained.
        seed: of the training.
        training: options.
        code: hashes of code by component, as the suite knows them.
        purpose: of the record, where no protocol says otherwise.
        called: the purpose in the name of event files.
        tested: whether test is read.
        controlled: whether it is measured what the answers hang on.
        informed: whether it is measured how much they tell of the truth.
        answers: the folder that keeps the answers; None keeps none.
        worst: the folder of the suite that keeps the worst errors; None keeps none.
        events: the folder of the suite that keeps event files; None writes none.
        again: whether a run that fails is tried once more.
        models: the folder where a process that is not that of the suite leaves the model; None leaves none.
    """

    name: str
    id: str
    combination: Combination
    seed: int
    training: Training
    code: Mapping[str, str]
    purpose: Purpose = "comparison"
    called: Purpose = "comparison"
    tested: bool = True
    controlled: bool = False
    informed: bool = False
    answers: Path | None = None
    worst: Path | None = None
    events: Path | None = None
    again: bool = False
    models: Path | None = None


@dataclass(frozen=True)
class Context:
    """What the jobs of a part of a suite have in common.

    Args:
        task: the chosen task.
        settings: of all runs.
        catalog: where modalities are looked up.
        data: fingerprints of the task's columns by split.
        cache: folder for features of frozen encoders and transformed splits; None keeps them in memory.
        keep: bytes of transformed splits there.
        software: versions of what computes.
        name: that no other context has.
    """

    task: Choice
    settings: Settings
    catalog: Catalog
    data: Mapping[Split, Mapping[str, str]]
    cache: Path | None
    keep: int | None
    software: Mapping[str, Any] = field(default_factory=software)
    name: str = field(default_factory=lambda: uuid4().hex)

    def opened(self) -> Callable[[Job], Result]:
        """What does a job in this process, which is not that of the suite.

        Raises:
            DataError: it reads other data than the suite.
            MmkitError: it has other versions.
        """
        check_software(self.software, "the suite")
        splits = splits_of(self.task, self.catalog, self.settings)
        _check_data(self, splits)
        return partial(_elsewhere, Place(self, splits, Shared(self.cache, _Heard(), self.keep)))


@dataclass(frozen=True)
class Place:
    """Where runs are computed: what those of one process share, and how they travel to others.

    Args:
        context: of the part of the suite.
        splits: of its task.
        shared: transforms, transformed splits, features.
    """

    context: Context
    splits: Splits
    shared: Shared

    def run(self, job: Job) -> Run:
        """The run of a job."""
        return Run(self.context.task, job.combination, job.seed, job.training, self.context.settings)

    called = "runs"

    @property
    def progress(self) -> Progress:
        """What is told."""
        return self.shared.progress

    def begins(self, jobs: Iterable[Job]) -> None:
        """Tell which run begins, or how many."""
        names = [job.name for job in jobs]
        self.progress.stage(names[0] if len(names) == 1 else f"{len(names)} runs")

    def perform(self, job: Job) -> Result:
        """What becomes of a job, in this process."""
        return perform(job, self)

    @cached_property
    def _travelling(self) -> bytes:
        return cloudpickle.dumps(self.context)

    def packed(self, job: Job) -> tuple[str, bytes, bytes]:
        """A job for another process: the name of its context, the context, and the job.

        Classes of a notebook or of the script that was started are sent themselves, since no other process has them.
        """
        return self.context.name, self._travelling, cloudpickle.dumps(job)

    def lost(self, job: Job, why: str) -> Result:
        """What is recorded of a job whose process ended each time before it did."""
        error = ended_early(why)
        return Result(failed(self.run(job), self.splits, error, job.purpose), error)


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Args:
        record: of the run, completed or not.
        error: of a run that failed.
        model: of a completed run, where it was computed in the process of the suite; or the folder that holds it.
        told: what the work said meanwhile in another process, each with whether it is a warning.
    """

    record: Record
    error: Exception | None = None
    model: MultimodalModel | Path | None = None
    told: tuple[tuple[str, bool], ...] = ()


def perform(job: Job, place: Place) -> Result:
    """Do a job in this process; a component that fails costs its own run.

    Raises:
        RejectedError: values of the test split cannot be used, which every other run would find, too.
    """
    result = _attempt(job, place)
    return _attempt(job, place) if result.error is not None and job.again else result


def _attempt(job: Job, place: Place) -> Result:
    run, splits, shared = place.run(job), place.splits, place.shared
    began = time.time()
    try:
        with events_of(job.events, run, job.called, fold_of(splits.task)) if job.events else nullcontext() as events:
            record, model = execute(
                run,
                splits,
                catalog=place.context.catalog,
                shared=shared,
                purpose=job.purpose,
                tested=job.tested,
                beside=Beside(
                    worst=job.worst, events=events, controls=job.controlled, bits=job.informed, answers=job.answers
                ),
            )
            return Result(record, None, model)
    except Exception as error:
        if isinstance(error, RejectedError) and error.for_all:
            raise  # the test split is unusable, and every other run would fail after its training
        # An error of a third party's component fails its own runs only.
        return Result(replace(failed(run, splits, error, job.purpose), seconds=time.time() - began), error)


class _Heard(Progress):
    """Keeps what is said, for the process of the suite."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []

    def note(self, message: str) -> None:
        self.said.append((message, False))

    def warn(self, message: str) -> None:
        self.said.append((message, True))


def _elsewhere(place: Place, job: Job) -> Result:
    """Do a job in this process, which is not that of the suite."""
    _check_plugins(job)
    run = place.run(job)
    adopt_code(run, place.splits, job.code)
    if (found := run.id(place.splits)) != job.id:
        raise MmkitError(f"a worker makes run {found} of {job.name}, and the suite {job.id}; their options differ")
    result = perform(job, place)
    model = result.model
    if isinstance(model, MultimodalModel):
        model = _left(model, job, place)
    heard = place.shared.progress
    assert isinstance(heard, _Heard)  # noqa: S101 (`Context.opened` made it)
    told, heard.said = tuple(heard.said), []
    error = None if result.error is None else sendable(result.error)
    return replace(result, error=error, model=model, told=told)


def _left(model: MultimodalModel, job: Job, place: Place) -> Path | None:
    """The folder that holds the model for the process of the suite."""
    if job.models is None:
        return None
    folder = job.models / f".{job.id}-{os.getpid()}"
    remembering(model, place.splits).save(folder)
    return folder


def _check_data(context: Context, splits: Splits) -> None:
    if changed := changed_columns(context.data, data_of(splits)):
        what = "; ".join(f"{' and '.join(names)} of {split}" for split, names in changed.items())
        raise DataError(
            f"a worker reads other data than the suite: {what}; the data must be at a path that all machines see"
        )
    for name, columns in context.data.items():  # what cannot be known by its content is known by what it is there
        splits.content(name).columns.update(columns)


def _check_plugins(job: Job) -> None:
    for name, version in job.combination.plugins().items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "none"
        if here != version:
            raise MmkitError(
                f"a worker has {name} {here}, and the suite {version}; give all machines the same versions"
            )
