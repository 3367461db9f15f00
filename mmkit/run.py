"""ONE run, from sample to record: start reading here.

samples -> transforms (fitted on train) -> model -> training -> validation -> test -> record
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch

from mmkit.catalog import Catalog, installed
from mmkit.combination import Combination, Transforms, born
from mmkit.contract import Task, TruthTransform
from mmkit.data.dataset import Dataset
from mmkit.data.picking import with_truth
from mmkit.data.refused import OnError
from mmkit.data.splits import Splits
from mmkit.errors import UnavailableError, UsageError, one_of
from mmkit.features.shared import Shared
from mmkit.frozen import Frozen
from mmkit.measure.accuracy import Metrics, measured_as_tensors, metrics_of
from mmkit.measure.answers import HEAD_LOSS, Answers, measures_of
from mmkit.measure.cost import parameters
from mmkit.measure.machine import libraries, machine, software
from mmkit.model import Model, TrainingStep
from mmkit.multimodal import MultimodalModel
from mmkit.options import Choice, options_of, validated
from mmkit.record import SCHEMA, Record, fingerprint
from mmkit.train import Precision, Trained, Training, fit, losses_of_samples, predictions

MOST_CLASSES = 100
"""Of a confusion matrix that a record holds: it grows with their square."""


@dataclass(frozen=True)
class Run:
    """One combination, one seed, one training.

    Args:
        task: the chosen task.
        combination: encoders, fusion and head.
        seed: of weights, order, augmentation and dropout.
        training: options.
        device: "cpu", "cuda" or "mps".
        precision: of the forward.
        limit: at most so many training samples; None is all.
        on_error: what becomes of a value that cannot be read or transformed.

    Raises:
        UsageError: a setting that is not possible.
    """

    task: Choice
    combination: Combination
    seed: int = 0
    training: Training = dataclasses.field(default_factory=Training)
    device: str = "cpu"
    precision: Precision = "float32"
    limit: int | None = None
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        for name, given, possible in (
            ("precision", self.precision, get_args(Precision)),
            ("on_error", self.on_error, get_args(OnError)),
        ):
            if given not in possible:
                raise UsageError(f"the {name} of a run is {' or '.join(possible)}; got {given}")
        if self.seed < 0:
            raise UsageError(f"the seed of a run is 0 or more; got {self.seed}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"the limit of a run is 1 or more, or none; got {self.limit}")

    def document(self) -> dict[str, Any]:
        """The run as plain JSON values; `Run.of` takes it back."""
        return {
            "task": str(self.task),
            **self.combination.document(),
            "seed": self.seed,
            "training": dataclasses.asdict(self.training),
            "device": self.device,
            "precision": self.precision,
            "limit": self.limit,
            "on_error": self.on_error,
        }

    def names(self) -> dict[str, Any]:
        """The combination as records name it."""
        return {
            "encoders": {name: str(choice) for name, choice in self.combination.encoders.items()},
            "fusion": self.combination.label,
            "head": str(self.combination.head),
            "objectives": [str(choice) for choice in self.combination.objectives],
        }

    @staticmethod
    def of(document: Mapping[str, Any], catalog: Catalog | None = None) -> Run:
        """The run that a document describes.

        Args:
            document: what `document` gave; training, objectives and settings may be left out.
            catalog: where names are looked up; None is what is installed.

        Raises:
            UsageError: something is lacking, unknown or not possible.
            UnavailableError: a component that cannot be had here.
        """
        catalog = catalog or installed()
        needed = ("task", "encoders", "fusion", "head")
        settings = ("seed", "device", "precision", "limit", "on_error")
        for name in needed:
            if name not in document:
                raise UsageError(f"a run has {', '.join(needed)}; the document lacks {name}")
        for name in document:
            if name not in (possible := (*needed, "objectives", "training", *settings)):
                raise UsageError(f"a run has no {name}; {one_of(possible, name)}")
        training = validated("train", document.get("training", {}), options_of(Training))
        return Run(
            catalog.choose("task", document["task"]),
            Combination.of({"objectives": (), **document}, catalog),
            training=Training(**training),  # type: ignore[arg-type]  # checked
            **{name: document[name] for name in settings if name in document},
        )

    def splits(self, catalog: Catalog) -> Splits:
        """The splits of the task, which several runs may share."""
        return splits_of(self.task, catalog, self.on_error, self.limit)

    def id(self, splits: Splits) -> str:
        """A hash over all that decides the result; reads the training and validation splits."""
        ids = {name: list(splits(name).ids) for name in ("train", "validation")}
        return fingerprint({**self.document(), "split": fingerprint(ids)})


def splits_of(task: Choice, catalog: Catalog, on_error: OnError, limit: int | None) -> Splits:
    """The splits of a chosen task, with the modalities that decode its inputs."""
    made = task.component(**task.part(task.component))
    modalities = {name: catalog.find("modality", kind).load()() for name, kind in made.inputs.items()}
    return Splits(made, modalities, on_error, limit)


def device_of(name: str) -> str:
    """The device that a name stands for on this machine; "auto" is the fastest that is there.

    Raises:
        UnavailableError: it is not there.
        UsageError: there is no device of that name.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if name not in there:
        raise UsageError(f"--device takes auto, cpu, cuda or mps; got {name}")
    if not there[name]:
        raise UnavailableError(f"this machine has no {name} device that torch can use; take --device cpu or auto")
    return name


def execute(
    run: Run,
    splits: Splits | None = None,
    *,
    catalog: Catalog | None = None,
    shared: Shared | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Record, MultimodalModel]:
    """Train one combination with one seed and see what it is worth.

    Whatever is fitted is fitted on train, the best epoch is chosen on validation, and test is read last.

    Args:
        run: what to do.
        splits: those of the run's task, where several runs share them.
        catalog: where modalities are looked up; None is what is installed.
        shared: what the runs of a suite have in common, and where features of frozen encoders are kept; None keeps
            them for this run only.
        report: called after each epoch with epochs done and planned.

    Raises:
        DataError: a value cannot be read, or no truth is there to choose the best epoch by.
        MmkitError: training diverged.
        UnavailableError: the device is not there.
    """
    began = time.time()
    catalog = catalog or installed()
    splits = splits or run.splits(catalog)
    shared = shared or Shared()
    task, device = splits.task, torch.device(device_of(run.device))
    mine = splits.own()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        training = partial(_trained, run, shared=shared, report=report)
        transforms, module, frozen, trained, on_validation = mine.use(training)
        target = transforms.truth.target()
        unseen = mine.use(lambda left: frozen.dataset(left("test"), augment=False, split="test"))
        on_test = measured(module, transforms.truth, unseen, mine("test").truth, precision=run.precision)

    model = MultimodalModel(module, run.combination, transforms, dict(task.inputs), splits.modalities, task.target)
    document = run.document()
    record = {
        "schema": SCHEMA,
        "id": run.id(splits),
        "status": "ok",
        "error": None,
        "task": document["task"],
        **run.names(),
        "seed": run.seed,
        "metric": task.metric,
        "epoch_metric": _chooses(task),
        "higher_is_better": on_test.higher_is_better(task.metric),
        "metrics": on_test.compute(),
        "validation": on_validation.compute(),
        "best_epoch": trained.best,
        "history": trained.history,
        "scores": on_test.per_sample(task.metric),
        "names": list(target.names),
        "confusion": _confusion(on_test),
        "samples": {
            "train": len(with_truth(mine("train"))),
            "validation": on_validation.samples,
            "test": on_test.samples,
            "without_truth": {
                "train": len(mine("train")) - len(with_truth(mine("train"))),
                "validation": len(mine("validation")) - on_validation.samples,
                "test": on_test.without_truth,
            },
        },
        "unread": mine.unread,
        "encoded_once": [name for name in frozen.inputs if name not in frozen.augmented],
        "encoded_in_copies": frozen.augmented if run.training.copies else [],
        "encoded_anew": [] if run.training.copies else frozen.augmented,
        "loading": {
            "seconds": trained.loading,
            "share": trained.loading / trained.seconds,
            "workers": trained.workers,
        },
        "throughput": None,
        "cost": {"parameters": parameters(module)[0]},
        "seconds": time.time() - began,
        "run": document,
        **surroundings(run),
    }
    return record, model


def _trained(
    run: Run, splits: Splits, *, shared: Shared, report: Callable[[int, int], None] | None
) -> tuple[Transforms, Model, Frozen, Trained, Metrics | Answers]:
    """A model trained on the training split, and what it finds of validation."""
    train, validation = splits.with_truth("train"), splits.with_truth("validation")
    device = torch.device(device_of(run.device))
    torch.manual_seed(run.seed)
    transforms = Transforms.fitted(run.combination, splits.task.target, train.inputs, train.truth, train.ids, shared)
    for samples in (train, validation):
        transforms.check_truth(samples)
    module, objectives = born(run.combination, transforms, shared)
    step = TrainingStep(module, objectives).to(device)
    frozen = Frozen(module, run.combination, transforms, run.precision, run.training.copies, shared)
    data = frozen.dataset(train, augment=True, split="train")
    frozen.scale(train, data)
    held = frozen.dataset(validation, augment=False, split="validation")
    metric = _chooses(splits.task)
    judge = partial(measured, module, transforms.truth, held, validation.truth, precision=run.precision)

    def validate() -> tuple[float, dict[str, float | None]]:
        seen = judge(names=[metric])
        found = seen.compute([metric])
        value = found[metric]
        return -math.inf if value is None else value if seen.higher_is_better(metric) else -value, found

    trained = fit(step, data, validate, run.training, seed=run.seed, precision=run.precision, report=report)
    return transforms, module, frozen, trained, judge()


def _chooses(task: Task) -> str:
    """The metric that chooses the best epoch."""
    chosen: str = getattr(task, "epoch_metric", task.metric)
    return chosen


def failed(run: Run, splits: Splits, error: Exception) -> Record:
    """The record of a run that could not be done."""
    return {
        "schema": SCHEMA,
        "id": run.id(splits),
        "status": "failed",
        "error": f"{type(error).__name__}: {error}",
        "task": str(run.task),
        **run.names(),
        "seed": run.seed,
        "run": run.document(),
        **surroundings(run),
    }


def surroundings(run: Run) -> dict[str, Any]:
    """Where a run takes place: what is compared when a suite goes on."""
    plugins = {**run.combination.plugins(), **run.task.plugins}
    return {
        "device": run.device,
        "precision": run.precision,
        "machine": machine(),
        "software": software(),
        "plugins": plugins,
        "libraries": libraries(plugins),
    }


def measured(
    module: Model,
    transform: TruthTransform,
    data: Dataset,
    truths: Sequence[Any],
    *,
    precision: Precision,
    names: Collection[str] | None = None,
) -> Metrics | Answers:
    """The predictions of a split, ready to be measured.

    Args:
        module: the model.
        transform: of the truth; its inverse gives the answers of a kind of target that is measured in words.
        data: the split.
        truths: its raw truth.
        precision: of the forward.
        names: of the metrics that will be asked for, so that nothing else is computed; None is all.
    """
    target = transform.target()
    if measured_as_tensors(target.kind):
        metrics = metrics_of(target)
        for prediction, truth in predictions(module, data, precision):
            metrics.update(prediction, truth)
        return metrics
    losses, known = losses_of_samples(module, data, precision)
    answers = None
    if names is None or set(names) != {HEAD_LOSS}:
        answers = [a for given, _ in predictions(module, data, precision) for a in transform.inverse(given)]
    return Answers(measures_of(transform, target.kind), losses, known, truths, answers)


def _confusion(found: Metrics | Answers) -> list[Any] | None:
    """Of classes or labels, where they are few."""
    if isinstance(found, Answers) or found.target.kind == "scalar" or found.target.size > MOST_CLASSES:
        return None
    return found.confusion()
