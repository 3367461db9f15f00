"""A record: all that one run found, field by field. `README.md` beside this file explains the folder of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from mmkit.contract import Split

SCHEMA = 1
"""Of the lines that this version of mmkit reads and writes."""


@dataclass(frozen=True)
class SampleCounts:
    """How many samples of each split had truth, and so were used.

    Args:
        train: training samples with truth.
        validation: validation samples with truth.
        test: test samples with truth.
        without_truth: samples without truth, by split.
    """

    train: int
    validation: int
    test: int
    without_truth: dict[Split, int]


@dataclass(frozen=True)
class Loading:
    """How long training waited for its batches.

    Args:
        seconds: waiting time of all training steps together.
        share: that time as a share of the whole time of training steps.
        workers: threads that made batches ahead.
    """

    seconds: float
    share: float
    workers: int


@dataclass(frozen=True)
class Speed:
    """How fast a combination is, timed in interleaved rounds with all others of its suite.

    Args:
        inference_samples_per_s: samples predicted in a second.
        train_samples_per_s: samples trained on in a second.
        latency_ms: milliseconds for one sample, by percentile ("p50"); None where too few calls were timed.
        inference_batch_size: samples in each timed prediction.
        train_batch_size: samples in each timed training step.
    """

    inference_samples_per_s: float
    train_samples_per_s: float
    latency_ms: dict[str, float | None]
    inference_batch_size: int
    train_batch_size: int


@dataclass(frozen=True)
class Cost:
    """What a combination costs apart from time.

    Args:
        parameters: number of parameters of the model.
        trainable_parameters: number of those that are trained; None where costs were not measured.
        flops_per_sample: floating-point operations to predict one sample; None where they cannot be counted.
        flops_uncounted: operations without a formula, because of which they cannot be counted.
        peak_memory_bytes: most memory that a training step needs; None where it cannot be measured.
    """

    parameters: int
    trainable_parameters: int | None = None
    flops_per_sample: float | None = None
    flops_uncounted: list[str] = field(default_factory=list)
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run. Of a run that failed, nothing is known beyond its name, its error and its surroundings.

    Args:
        schema: version of this layout.
        id: hash over all that decides the result.
        status: whether the run was completed.
        error: kind and message of what made it fail; None where it was completed.
        exit_code: exit code of the command line for that error; 0 where it was completed.
        task: the task, with its options.
        encoders: the encoder of each input, with its options.
        fusion: the fusion, with its options; `only:INPUT` of a single-input baseline.
        head: the head, with its options.
        objectives: the losses beside the head's, with their options.
        seed: seed of weights, order, augmentation and dropout.
        metric: metric that ranks combinations.
        epoch_metric: metric that chose the best epoch.
        higher_is_better: whether a higher value of `metric` is better.
        metrics: scores on test, by metric; None where a metric is not defined on these samples.
        validation: scores on validation, by metric.
        best_epoch: epoch whose weights were kept, counted from 1.
        history: for each epoch its number, the mean loss, and `epoch_metric` on validation.
        scores: value of `metric` for each test sample; None where it is not a mean over samples.
        names: names of the classes, labels or numbers.
        confusion: counts on test, one row for each true class; for labels one 2 x 2 matrix each. None for numbers and
            texts, and for more than 100 classes.
        samples: how many samples were used.
        unread: one line for each value that could not be read or transformed, by split.
        encoded_once: inputs whose frozen encoder ran once over each split.
        encoded_in_copies: augmented inputs whose frozen encoder ran once over each of several copies.
        encoded_anew: augmented inputs whose frozen encoder ran in every epoch.
        loading: how long training waited for its batches.
        throughput: how fast the combination is; None where it was not measured.
        cost: parameters, FLOPs and memory.
        seconds: duration of the run.
        run: the run as a document, from which `Run.of` makes it again.
        device: device that it ran on: cpu, cuda or mps.
        precision: precision of the forward pass.
        machine: the machine that it ran on; no name of a host, a user or a folder.
        software: versions of Python, torch and what else computes.
        plugins: versions of the distributions that its components come from.
        libraries: versions of the libraries that those are built on.
    """

    schema: int = SCHEMA
    id: str
    status: Literal["ok", "failed"]
    error: str | None = None
    exit_code: int = 0
    task: str
    encoders: dict[str, str]
    fusion: str
    head: str
    objectives: list[str]
    seed: int
    metric: str = ""
    epoch_metric: str = ""
    higher_is_better: bool = True
    metrics: dict[str, float | None] = field(default_factory=dict)
    validation: dict[str, float | None] = field(default_factory=dict)
    best_epoch: int | None = None
    history: list[dict[str, int | float | None]] = field(default_factory=list)
    scores: list[float] | None = None
    names: list[str] = field(default_factory=list)
    confusion: list[Any] | None = None
    samples: SampleCounts | None = None
    unread: dict[Split, list[str]] = field(default_factory=dict)
    encoded_once: list[str] = field(default_factory=list)
    encoded_in_copies: list[str] = field(default_factory=list)
    encoded_anew: list[str] = field(default_factory=list)
    loading: Loading | None = None
    throughput: Speed | None = None
    cost: Cost | None = None
    seconds: float | None = None
    run: dict[str, Any]
    device: str
    precision: str
    machine: dict[str, Any]
    software: dict[str, Any]
    plugins: dict[str, str]
    libraries: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As plain JSON values; `Record.of` takes them back."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for name, v in found.items()}

    @staticmethod
    def of(document: Mapping[str, Any]) -> Record:
        """The record that a document describes.

        Raises:
            ValueError: a field is missing, or is not of its type; the message names it.
        """
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 (heavy, and a first run reads no record)

        try:
            return TypeAdapter(Record).validate_python(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
