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
        train: with truth.
        validation: with truth.
        test: with truth.
        without_truth: the others, by split.
    """

    train: int
    validation: int
    test: int
    without_truth: dict[Split, int]


@dataclass(frozen=True)
class Loading:
    """What training waited for its batches.

    Args:
        seconds: of all training steps.
        share: of the time of training steps.
        workers: threads that made batches ahead.
    """

    seconds: float
    share: float
    workers: int


@dataclass(frozen=True)
class Speed:
    """How fast a combination is, timed in interleaved rounds with all others of its suite.

    Args:
        inference_samples_per_s: of predictions.
        train_samples_per_s: of training steps.
        latency_ms: of a prediction of one sample, by percentile ("p50"); None where too few calls were timed.
        inference_batch_size: samples that were predicted together.
        train_batch_size: samples of a training step.
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
        parameters: of the model.
        trainable_parameters: those of them that are trained; None where it was not asked for.
        flops_per_sample: of a prediction; None where it is not known.
        flops_uncounted: operations without a formula, for which it is not known.
        peak_memory_bytes: of a training step; None where it is not known.
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
        schema: of the record.
        id: hash over all that decides the result.
        status: "ok" or "failed".
        error: kind and message of what made it fail.
        exit_code: that the error stands for on the command line; 0 without one.
        task: with its options.
        encoders: by input, with their options.
        fusion: with its options, or `only:INPUT`.
        head: with its options.
        objectives: with their options.
        seed: of weights, order, augmentation and dropout.
        metric: that ranks combinations.
        epoch_metric: that chose the best epoch.
        higher_is_better: of `metric`.
        metrics: on test, by name; None where one is not defined on the samples at hand.
        validation: likewise, on validation.
        best_epoch: whose weights were kept, from 1.
        history: of each epoch its number, the mean loss, and `epoch_metric` on validation.
        scores: of `metric` on test, sample by sample; None where it is no mean over samples.
        names: of the classes, labels or numbers.
        confusion: counts on test, a row a true class; of labels a 2 x 2 matrix each. None of numbers and texts, and of
            more than 100 classes.
        samples: how many were used.
        unread: values that could not be read or transformed, a line each, by split.
        encoded_once: inputs with a frozen encoder whose features were computed once.
        encoded_in_copies: those whose features were computed of several augmented copies.
        encoded_anew: those whose frozen encoder ran in every epoch.
        loading: what training waited for its batches.
        throughput: how fast the combination is; None where it was not measured.
        cost: parameters, FLOPs and memory.
        seconds: that the run took.
        run: its document, from which `Run.of` makes it again.
        device: on which it ran.
        precision: of the forward.
        machine: on which it ran.
        software: versions of what computes.
        plugins: distributions of its components, with versions.
        libraries: versions of what those are built on.
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
