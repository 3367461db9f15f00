"""One run, from samples to a record: start reading here.

samples -> transforms (fitted on train) -> model -> training -> validation -> test -> record
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmkit.contract import Samples, Split, Task
from mmkit.data.bad_values import fitted_on
from mmkit.data.dataset import Dataset
from mmkit.data.missing import check_inputs, missing_values
from mmkit.data.splits import Splits, splits_of
from mmkit.data.subset import joined, with_truth
from mmkit.errors import UsageError, one_of
from mmkit.experiments.beside import Beside, calibrated, chosen_of, intervals_of, phases_of, temperature_of
from mmkit.experiments.controls import controls
from mmkit.experiments.evaluation import answers_of, evaluate
from mmkit.experiments.identity import code_of_run, data_of, fold_of, identity, known_by
from mmkit.experiments.information import bits_of
from mmkit.experiments.worst import worst_errors
from mmkit.features.sharing import Shared
from mmkit.metrics.answers import Answers
from mmkit.metrics.tensors import Metrics, measured_as_tensors
from mmkit.model.assembly import Transforms, chosen_by
from mmkit.model.combination import Combination
from mmkit.model.network import Model
from mmkit.model.step import build_step
from mmkit.model.trained import MultimodalModel
from mmkit.records.controls import Controls
from mmkit.records.record import Cost, Loading, Purpose, Record, ReliabilityBin, SampleCounts
from mmkit.records.scores import Scores
from mmkit.records.splits import id_as_text
from mmkit.records.unread import Unread
from mmkit.records.worst import Worst
from mmkit.registry.blame import blaming, chosen
from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.options import Choice, options_of, validated
from mmkit.speed.flops import parameters
from mmkit.system.machine import libraries, machine, software
from mmkit.system.ranks import ranks
from mmkit.system.settings import Settings
from mmkit.system.state import own_state, own_threads, seed_generators
from mmkit.training.distributed import check_samples
from mmkit.training.frozen import Frozen
from mmkit.training.loop import Trained
from mmkit.training.optimisation import Training
from mmkit.training.phases import Phases

LAST = 0.1
"""The share of the epochs, at their end, in which a best epoch says that training was still improving."""
MAX_CLASSES = 100
"""The greatest number of classes of a confusion matrix in a record; its size grows with their square."""


@dataclass(frozen=True)
class Run:
    """One combination, trained with one seed.

    Args:
        task: the chosen task.
        combination: encoders, fusion and head.
        seed: of weights, order, augmentation and dropout.
        training: options.
        settings: device, precision, limit, on_error and threads.

    Raises:
        UsageError: the seed is negative.
    """

    task: Choice
    combination: Combination
    seed: int = 0
    training: Training = dataclasses.field(default_factory=Training)
    settings: Settings = dataclasses.field(default_factory=Settings)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"the seed of a run is 0 or more; got {self.seed}")

    def document(self) -> dict[str, Any]:
        """The run as plain JSON values; `Run.of` reads them."""
        return {
            "task": str(self.task),
            **self.combination.document(),
            "seed": self.seed,
            "training": dataclasses.asdict(self.training),
            **self.settings.document(),
        }

    @staticmethod
    def of(document: Mapping[str, Any], catalog: Catalog | None = None) -> Run:
        """The run that a document describes.

        Args:
            document: what `document` gave; training, objectives, balance and settings may be left out.
            catalog: where names are looked up; None is what is installed.

        Raises:
            UsageError: an entry is missing, unknown or not allowed.
            UnavailableError: a component is not available on this machine.
        """
        catalog = catalog or installed()
        needed = ("task", "encoders", "fusion", "head")
        settings = [field.name for field in dataclasses.fields(Settings)]
        for name in needed:
            if name not in document:
                raise UsageError(f"a run needs {', '.join(needed)}; the document lacks {name}")
        for name in document:
            if name not in (possible := (*needed, "objectives", "balance", "seed", "training", *settings)):
                raise UsageError(f"a run has no entry {name}; {one_of(possible, name)}")
        training = validated("train", document.get("training", {}), options_of(Training))
        return Run(
            catalog.choose("task", document["task"]),
            Combination.of({"objectives": (), "balance": None, **document}, catalog),
            document.get("seed", 0),
            Training(**training),  # type: ignore[arg-type]  # checked
            Settings(**{name: document[name] for name in settings if name in document}),
        )

    def splits(self, catalog: Catalog) -> Splits:
        """The splits of the task; runs of the same task and settings can share them."""
        return splits_of(self.task, catalog, self.settings)

    def id(self, splits: Splits) -> str:
        """A hash over all that determines the result. All splits are read for it, and none is decoded."""
        document = {**self.document(), **known_by(splits.task)}
        if (world := ranks().world) > 1:
            document["ranks"] = world
        return identity(document, data_of(splits), code_of_run(self.task, self.combination, splits))


def execute(
    run: Run,
    splits: Splits | None = None,
    *,
    catalog: Catalog | None = None,
    shared: Shared | None = None,
    purpose: Purpose = "comparison",
    tested: bool = True,
    beside: Beside | None = None,
) -> tuple[Record, MultimodalModel]:
    """Train one combination with one seed, and evaluate it.

    Everything is fitted on train, the best epoch is chosen on validation, and test is read last.

    Args:
        run: the run.
        splits: of the run's task, if several runs share them.
        catalog: where modalities are looked up; None is what is installed.
        shared: what the runs of a suite share, such as features of frozen encoders, and the progress to report to; None
            shares nothing and shows nothing.
        purpose: of the record; a "search" does not read the test split.
        tested: whether another run reads it.
        beside: checkpoints and more; None is none of it.

    Returns:
        The record and the trained model.

    Raises:
        DataError: a value cannot be read, no sample of train or validation has truth, or an input has no value there.
        MmkitError: training diverged.
    """
    with own_state(run.settings.device, seed=run.seed), own_threads(run.settings.threads):
        splits = splits or run.splits(catalog or installed())
        return _executed(run, splits, shared or Shared(), purpose, beside or Beside(), tested=tested)


def _executed(
    run: Run, splits: Splits, shared: Shared, purpose: Purpose, beside: Beside, *, tested: bool
) -> tuple[Record, MultimodalModel]:
    began = time.time()
    task, own = splits.task, splits.own()
    train = partial(_train, run, shared=shared, beside=beside, search=purpose == "search")
    result = own.retry_without_rejected(train)
    on_test = controls_of = bits = None
    if tested and purpose != "search":
        on_test, controls_of, bits = own.retry_without_rejected(partial(_test, run, result, beside=beside))
    model = MultimodalModel(
        result.module,
        run.combination,
        result.transforms,
        dict(task.inputs),
        splits.modalities,
        task.target,
        run.settings.precision,
        task.layout() if hasattr(task, "layout") else None,
    )
    on_validation, trained = result.on_validation, result.trained
    scores = on_validation.compute()
    augmented = result.frozen.augmented
    record = Record(
        purpose=purpose,
        status="ok",
        **_names(run),
        **known_as(run, splits),
        metric=task.metric,
        epoch_metric=_epoch_metric(task),
        higher_is_better=on_validation.higher_is_better(task.metric),
        lower_is_better=[name for name in scores if not on_validation.higher_is_better(name)],
        metrics=on_test.compute() if on_test else {},
        validation=scores,
        intervals=intervals_of(on_validation, on_test, own) if beside.intervals else {},
        intervals_over=list(own("validation").factors) if beside.intervals else [],
        binned=on_test.binned if on_test else [],
        best_epoch=trained.best,
        averaged_epochs=trained.averaged,
        phases=phases_of(trained, tuned=bool(result.frozen.tuned), probing=purpose == "search" and run.training.probe),
        still_improving=trained.best > trained.planned * (1 - LAST),
        calibrated=calibrated(result.module, result.frozen, own, tested=on_test is not None),
        private=trained.private,
        chosen=chosen_by(result.module),
        history=trained.history,
        scores=_scores(own, on_test.per_sample(task.metric)) if on_test else None,
        bits=_scores(own, bits),
        names=list(result.transforms.truth.target().names),
        confusion=_confusion(on_test) if on_test else None,
        never=_never(result.transforms.truth.target().names, _confusion(on_validation)),
        reliability=_reliability(on_test) if on_test else [],
        controls=controls_of,
        samples=_sample_counts(own, on_validation, on_test, run.combination.encoders),
        unread={name: len(values) for name, values in own.unread.items()},
        unread_values=_unread_values(own),
        encoded_once=[name for name in result.frozen.inputs if name not in augmented],
        encoded_in_copies=augmented if run.training.copies else [],
        encoded_anew=[] if run.training.copies else augmented,
        fitted_on=_fitted_on(own, result.transforms),
        loading=Loading(trained.loading, trained.loading / trained.seconds, trained.workers),
        cost=Cost(parameters(result.module)[0]),
        seconds=time.time() - began,
        ranks=ranks().world,
        **surroundings(run),
    )
    if beside.answers is not None and measured_as_tensors(task.target):
        own.retry_without_rejected(partial(_keep_answers, beside.answers / f"{record.id}.npz", run, result))
    if on_test and beside.worst is not None:
        _worst(record.id, run, result, beside.worst, own).write(beside.worst)
    return record, model


class _TrainingResult(NamedTuple):
    """A trained model with its transforms, the course of its training, and its evaluation on validation."""

    transforms: Transforms
    module: Model
    frozen: Frozen
    trained: Trained
    on_validation: Metrics | Answers


def _train(run: Run, splits: Splits, *, shared: Shared, beside: Beside, search: bool) -> _TrainingResult:
    """Fit transforms and train a model on the training split; the best epoch is chosen on validation.

    A search for a learning rate leaves out the tuning of encoders, which has rates of its own.
    """
    train, validation = splits.with_truth("train"), splits.with_truth("validation")
    check_samples(ranks().gathered(_usable(splits, train=len(train), validation=len(validation))))
    for warning in check_inputs(splits):
        shared.warn_once(warning)
    if untold := _untold_tokens(run, train):
        shared.warn_once(untold)
    checkpoints = beside.checkpoints
    if checkpoints is not None:  # the number of samples says which values were rejected so far
        checkpoints = dataclasses.replace(checkpoints, of=[checkpoints.of, len(train), len(validation)])
    if beside.refit is not None:
        train = joined(train, validation)
    seed_generators(run.seed, run.settings.device)  # again, because values may have been rejected
    transforms = ranks().own(partial(_transforms, run, splits.task.target, train, validation, shared))
    options = run.training
    step = build_step(run.combination, transforms, shared, options.absence, options.mixup).to(run.settings.device)
    module = step.model
    frozen = Frozen(module, run.combination, transforms, run.settings, run.training.copies, shared)
    metric = _epoch_metric(splits.task)
    measured = partial(evaluate, module, transforms.truth, truths=validation.truth, precision=run.settings.precision)

    def score(data: Dataset) -> tuple[float, dict[str, float | None]]:
        evaluation = measured(data, names=[metric])
        scores = evaluation.compute([metric])
        value = scores[metric]
        if value is None:
            return -math.inf, scores
        return value if evaluation.higher_is_better(metric) else -value, scores

    phases = Phases(
        step,
        frozen,
        train,
        validation,
        score,
        run.seed,
        None if beside.refit is None else chosen_of(beside.refit),
        checkpoints,
        beside.events,
    )
    trained, data = phases.run(run.training, rate_alone=search)
    if run.training.calibrate:
        module.temperature = temperature_of(module, data, splits.task.target, run.settings.precision, beside.refit)
    return _TrainingResult(transforms, module, frozen, trained, measured(data))


def _usable(splits: Splits, **samples: int) -> dict[str, int]:
    """What this rank can use of some splits, which it has read."""
    unread = sum(len(values) for name, values in splits.unread.items() if name in samples)
    return {**{f"samples of {name}": count for name, count in samples.items()}, "values that it cannot read": unread}


def _transforms(run: Run, target: str, train: Samples, validation: Samples, shared: Shared) -> Transforms:
    """Transforms that were fitted on train, and have read the truth of both."""
    transforms = Transforms.fitted(run.combination, target, train.inputs, train.truth, train.ids, shared)
    for samples in (train, validation):
        transforms.read_truth(samples, shared)
    return transforms


def _untold_tokens(run: Run, train: Samples) -> str:
    """What to say where nothing tells learned tokens what they stand for; empty where something does."""
    options = run.training
    if options.missing == "neutral" or options.modality_dropout or run.combination.fusion is None:
        return ""
    if any(missing_values(train, run.combination.encoders).values()):
        return ""
    return (
        f"train.missing={options.missing}: no training sample lacks an input, so nothing is learned that "
        "could stand for one; -o train.modality_dropout=.2 leaves inputs out"
    )


def _fitted_on(splits: Splits, transforms: Transforms) -> dict[str, int]:
    """How many samples a transform was fitted on, by input, where that is not all of them."""
    train = splits.with_truth("train")
    counts = {name: fitted_on(one, train.inputs[name]) for name, one in transforms.inputs.items()}
    return {name: count for name, count in counts.items() if count < len(train)}


class _Tested(NamedTuple):
    """What test says of a trained model; beside the metrics what was asked for."""

    measured: Metrics | Answers
    controls: Controls | None
    bits: list[float] | None


def _test(run: Run, result: _TrainingResult, splits: Splits, *, beside: Beside) -> _Tested:
    """Evaluate the trained model on test, which is decoded here for the first time, with what goes beside it."""
    test, metric = splits("test"), splits.task.metric
    check_samples(ranks().gathered(_usable(splits, test=len(test))))
    data = result.frozen.dataset(test, augment=False, split="test")
    measured = partial(
        evaluate, result.module, result.transforms.truth, truths=test.truth, precision=run.settings.precision
    )
    on_test = measured(data)
    controls_of = bits = None
    if beside.controls:
        score = on_test.compute([metric])[metric]
        controls_of = controls(lambda one: measured(one, names=[metric]).compute([metric])[metric], data, score)
    if beside.bits:
        train, validation = splits.with_truth("train"), splits.with_truth("validation")
        of_validation = result.frozen.dataset(validation, augment=False, split="validation")
        module, truth = result.module, result.transforms.truth
        bits = bits_of(on_test, module, truth, train.truth, of_validation, data, run.settings.precision)
    return _Tested(on_test, controls_of, bits)


def _worst(id_: str, run: Run, result: _TrainingResult, folder: Path, splits: Splits) -> Worst:
    """The worst errors on test, which has been measured by now."""
    test = splits("test")
    data = result.frozen.dataset(test, augment=False, split="test")
    return worst_errors(id_, result.module, result.transforms.truth, data, test, run.settings.precision, folder)


def _keep_answers(file: Path, run: Run, result: _TrainingResult, splits: Splits) -> None:
    """Keep what a model answers to the samples with truth of validation and test; nothing is measured."""

    def of(name: Split) -> np.ndarray[Any, Any]:
        data = result.frozen.dataset(splits.with_truth(name), augment=False, split=name)
        return answers_of(result.module, result.transforms.truth, data, run.settings.precision).numpy()

    file.parent.mkdir(exist_ok=True)
    np.savez(file, validation=of("validation"), test=of("test"))


def failed(run: Run, splits: Splits, error: Exception, purpose: Purpose = "comparison") -> Record:
    """The record of a run that could not be completed."""
    error = blaming(error, chosen([run.task, *run.combination.choices()]))
    return Record(
        purpose=purpose,
        status="failed",
        error=f"{type(error).__name__}: {error}",
        exit_code=getattr(error, "exit_code", 1),
        **_names(run),
        **known_as(run, splits),
        **surroundings(run),
    )


def surroundings(run: Run) -> dict[str, Any]:
    """The environment of a run, as fields of its record; it is compared when a suite is resumed."""
    plugins = {**run.combination.plugins(), **run.task.plugins}
    return {
        "device": run.settings.device,
        "precision": run.settings.precision,
        "machine": {**machine(), "threads": run.settings.threads},
        "software": software(),
        "plugins": plugins,
        "libraries": libraries(plugins),
    }


def _names(run: Run) -> dict[str, Any]:
    """The components of a run, as fields of its record."""
    combination = run.combination
    return {
        "task": str(run.task),
        "encoders": {name: str(choice) for name, choice in combination.encoders.items()},
        "fusion": combination.label,
        "head": str(combination.head),
        "objectives": [str(choice) for choice in combination.objectives],
        "seed": run.seed,
        "run": run.document(),
    }


def _scores(splits: Splits, values: Sequence[float] | None) -> Scores | None:
    """The scores of the samples with truth, each at the place of its sample in the test split as the task gives it.

    Those of a fold have the places of all samples of the data, so that the scores of the folds can be joined.
    """
    if values is None:
        return None
    task, used = splits.task, splits("test")
    ids = task.order if fold_of(task) else splits.content("test").ids  # type: ignore[attr-defined]  # folds have it
    known = [row for row, truth in enumerate(used.truth) if truth is not None]
    if len(used) == len(ids):  # none was dropped
        return Scores.of(values, known, len(ids))
    places = {id_: row for row, id_ in enumerate(ids)}
    rows = [places[used.ids[row]] for row in known]
    return Scores.of(values, rows, len(ids))


def _unread_values(splits: Splits) -> list[Unread]:
    values = []
    for name, lines in splits.unread.items():
        places = {id_: row for row, id_ in enumerate(splits.content(name).ids)} if lines else {}
        values += [Unread(places[one.sample], id_as_text(one.sample), one.column, name, one.reason) for one in lines]
    return values


def known_as(run: Run, splits: Splits) -> dict[str, Any]:
    """What a run is known by, as fields of its record."""
    return {
        "id": run.id(splits),
        "data": data_of(splits),
        "code": code_of_run(run.task, run.combination, splits),
        "fold": fold_of(splits.task),
    }


def _epoch_metric(task: Task) -> str:
    """The metric that chooses the best epoch."""
    metric: str = getattr(task, "epoch_metric", task.metric)
    return metric


def _confusion(measured: Metrics | Answers) -> list[Any] | None:
    """The confusion matrix of classes or labels, unless there are more than `MAX_CLASSES`."""
    if isinstance(measured, Answers) or measured.target.kind == "scalar" or measured.target.size > MAX_CLASSES:
        return None
    return measured.confusion()


def _never(names: Sequence[str], confusion: list[Any] | None) -> dict[str, int]:
    """Classes or labels that samples have and no answer is, with the number of those samples."""
    if not confusion:
        return {}
    if isinstance(confusion[0][0], list):
        counts = [(tp + fn, tp + fp) for (_, fp), (fn, tp) in confusion]
    else:
        counts = [(sum(row), sum(column)) for row, column in zip(confusion, zip(*confusion, strict=True), strict=True)]
    return {name: true for name, (true, said) in zip(names, counts, strict=True) if true and not said}


def _reliability(measured: Metrics | Answers) -> list[ReliabilityBin]:
    """How sure the answers were, and how often right; empty for other targets than classes and labels."""
    return [] if isinstance(measured, Answers) else [ReliabilityBin(*one) for one in measured.reliability()]


def _sample_counts(
    splits: Splits, on_validation: Metrics | Answers, on_test: Metrics | Answers | None, inputs: Iterable[str]
) -> SampleCounts:
    train, known = len(splits("train")), len(with_truth(splits("train")))
    without: dict[Split, int] = {
        "train": train - known,
        "validation": len(splits("validation")) - on_validation.samples,
    }
    names: list[Split] = ["train", "validation"]
    if on_test:
        without["test"] = on_test.without_truth
        names.append("test")
    missing = {name: missing_values(splits(name), inputs) for name in names}
    return SampleCounts(known, on_validation.samples, on_test.samples if on_test else None, without, missing)
