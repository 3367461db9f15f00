"""The pace of a combination: how long its parts take on this machine, measured before anything is trained.

A few calls of each are timed: training steps and predictions of two sizes, so that what
a batch takes is told from what its samples take; the making of batches, an evaluation, a pass of frozen encoders. It is
what an estimate of a whole plan is made of; costs that are compared are measured with more care, in interleaved rounds.

On one thread of a CPU calls are timed in CPU time, since a short call that is not interrupted says nothing of a machine
that others use; what the process has to wait besides is found over all calls together, as `slowdown`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.experiments.breakdown import MAX_SECONDS as DETAIL_SECONDS
from mmkit.experiments.breakdown import ROUNDS as DETAIL_ROUNDS
from mmkit.experiments.costs import LATENCY, MAX_SECONDS, ROUNDS, TWICE
from mmkit.experiments.evaluation import evaluate
from mmkit.experiments.subject import FEW, INFERENCE_BATCH, FrozenEncoder, Subject, clock_of
from mmkit.features.sharing import Shared
from mmkit.metrics.tensors import measured_as_tensors
from mmkit.model.combination import Combination
from mmkit.speed.stopwatch import Call, stopwatch, synchronizer
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.optimisation import Training
from mmkit.training.state import snapshot

CALLS = 3
"""Timed calls of each part, after a first one that warms up."""
MANY = 10
"""Combinations from which two calls are enough: what is asked for is the time of them all."""
DOUBLED = 20 * 64
"""The calls of `INFERENCE_BATCH` samples that a sweep over sizes up to 2,048 is worth, twenty rounds of each."""
LONG = 0.5
"""Seconds after which no further call is timed."""


class Batches(NamedTuple):
    """The seconds of work that is done batch by batch.

    Args:
        batch: a batch takes, whatever its size.
        sample: each of its samples takes on top.
    """

    batch: float
    sample: float

    def seconds(self, batches: int, samples: int) -> float:
        """The seconds of so many batches, with so many samples in all of them."""
        return batches * self.batch + samples * self.sample

    @staticmethod
    def of(few: int, small: float, many: int, large: float) -> Batches:
        """From the seconds of a batch of `few` samples, and of one of `many`."""
        if many <= few or large <= small:
            return Batches(large, 0.0)
        sample = min((large - small) / (many - few), large / many)
        return Batches(large - many * sample, sample)


@dataclass(frozen=True)
class Pace:
    """The seconds that parts of a combination take.

    Args:
        start: a run, before its first step.
        epoch: an epoch, beside its batches: scoring validation, and keeping the weights.
        metrics: measuring a split by all metrics, beside its batches.
        train: training steps, from features of frozen encoders; with the making of batches.
        predict: predictions of validation or test, likewise.
        probe: training steps while encoders are probed that are tuned later; None where none are.
        once: a sample that is transformed, and encoded by a frozen encoder, once for all runs; by input and encoder.
        copies: a sample of training takes on top, where it is encoded in several augmented copies; likewise.
    """

    start: float
    epoch: float
    metrics: float
    train: Batches
    predict: Batches
    probe: Batches | None
    once: Mapping[tuple[str, str], float]
    copies: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def rounds(self) -> float:
        """Seconds of its interleaved rounds where costs are measured, about."""
        shortest = stopwatch().min_block
        calls = (one.seconds(1, INFERENCE_BATCH) for one in (self.predict, self.train))
        return sum(TWICE * ROUNDS * max(call, shortest) for call in calls)

    def detail(self, inputs: int) -> float:
        """Seconds of measuring its predictions in detail, about: parts, inputs, and sizes of the batch."""
        call = self.predict.seconds(1, INFERENCE_BATCH) + INFERENCE_BATCH * sum(self.once.values())
        rounds = DETAIL_ROUNDS * max(call, stopwatch().min_block)
        swept = min(DETAIL_SECONDS, DOUBLED * call) + DOUBLED * call / 4
        return min(DETAIL_SECONDS, 3 * rounds) + min(DETAIL_SECONDS, (inputs + 1) * rounds) + swept

    @property
    def measuring(self) -> float:
        """Seconds of its latency where costs are measured, at most."""
        return MAX_SECONDS * LATENCY


class Paces(NamedTuple):
    """The paces of combinations.

    Args:
        of: that of each, by key; of one that cannot be built there is none.
        slowdown: the wall time of a second of them on this machine, with whoever else uses it; at least 1.
        making: seconds that making all models takes, which measuring costs does again.
        drawn: samples of an epoch, as a share of the training split; 1 where the sampler neither repeats nor omits.
    """

    of: dict[str, Pace]
    slowdown: float
    making: float
    drawn: float

    @property
    def costs(self) -> float:
        """The wall time of measuring costs: interleaved rounds up to their limits, and the latency of each model."""
        rounds = min(2 * MAX_SECONDS, self.slowdown * sum(one.rounds for one in self.of.values()))
        return rounds + sum(one.measuring for one in self.of.values()) + self.slowdown * self.making


def paces(
    combinations: Mapping[str, Combination], splits: Splits, training: Training, settings: Settings, shared: Shared
) -> Paces:
    """The pace of each combination.

    Args:
        combinations: by key.
        splits: of the task; the training split gives the batches.
        training: `batch_size` is that of a training step.
        settings: device and precision are used.
        shared: what the runs share.
    """
    found: dict[str, Pace] = {}
    clock = clock_of(torch.device(settings.device))
    began, wall, making, drawn = clock(), time.perf_counter(), 0.0, 1.0
    metric = getattr(splits.task, "epoch_metric", splits.task.metric)
    encode: dict[tuple[str, str], float] = {}
    scoring: dict[str, tuple[float, float]] = {}
    calls = CALLS if len(combinations) < MANY else min(2, CALLS)
    features = Shared(progress=shared.progress)  # features of a few samples do not belong into the cache
    for key, combination in combinations.items():
        shared.progress.stage(f"pace of {combination.label}")
        make = partial(Subject, combination, training=training, settings=settings, shared=shared, features=features)
        try:
            with own_state(settings.device, seed=0):
                at = clock()
                subject = splits.own().retry_without_rejected(make)
                making += clock() - at
                drawn = subject.drawn
                found[key] = _pace(subject, combination, training, settings, metric, calls, encode, scoring)
        except (MmkitError, RuntimeError, ValueError):
            continue  # its runs will fail in the same way and record the reason
    took = clock() - began
    slowdown = max(1.0, (time.perf_counter() - wall) / took) if took > 0 else 1.0
    return Paces(found, slowdown, making, drawn)


def _pace(
    subject: Subject,
    combination: Combination,
    training: Training,
    settings: Settings,
    metric: str,
    calls: int,
    encode: dict[tuple[str, str], float],
    scoring: dict[str, tuple[float, float]],
) -> Pace:
    """The pace of one.

    Once for all of them, the seconds of a sample in each frozen encoder are added to `encode`, and to `scoring` those
    of the metrics of what each head says.
    """
    timed = partial(seconds_of, device=settings.device, calls=calls)
    encoders: dict[str, FrozenEncoder] = {}
    subject.module.eval()
    for name, slot in zip(subject.frozen, subject.encoders(encoders), strict=True):
        key = name, str(combination.encoders[name])
        if key not in encode:  # warm from the samples that the subject has encoded
            encode[key] = timed(encoders[slot].encode, calls=0) / INFERENCE_BATCH
    predict = Batches.of(1, timed(subject.predict_one), INFERENCE_BATCH, timed(subject.predict))
    head = str(combination.head)
    if head not in scoring:
        scoring[head] = _scoring(subject, metric, settings, predict, timed)
    (one, every), kept = scoring[head], timed(lambda: snapshot(subject.step))
    subject.step.train()
    size, few = training.batch_size, min(FEW, training.batch_size)
    small = timed(subject.make_few) + timed(subject.train_few)
    train = Batches.of(few, small, size, timed(subject.make_batch) + timed(subject.train))
    probe = Batches.of(few, timed(subject.probe_some), size, timed(subject.probe)) if subject.tuned else None
    share = subject.transforming / len(combination.encoders)
    keys = [(name, str(choice)) for name, choice in combination.encoders.items()]
    once = {key: share + encode.get(key, 0.0) for key in keys}
    further = max(0, training.copies - 1)  # the first stands for the features without augmentation
    copies = {key: further * once[key] for key in keys if key[0] in subject.augmented and further}
    return Pace(subject.building, one + kept, every, train, predict, probe, once, copies)


def once_for_all(paces: Iterable[Pace], train: int, total: int) -> float:
    """The seconds of what is done once for all runs of combinations.

    Args:
        paces: of the combinations.
        train: samples of the training split.
        total: samples of all splits.
    """
    found = list(paces)
    once = {key: each for pace in found for key, each in pace.once.items()}
    copies = {key: each for pace in found for key, each in pace.copies.items()}
    return total * sum(once.values()) + train * sum(copies.values())


def _scoring(
    subject: Subject, metric: str, settings: Settings, predict: Batches, timed: Callable[[Call], float]
) -> tuple[float, float]:
    """What the metric of an epoch takes beside predicting, and what all take.

    Of texts, which are generated to be measured, the last is not tried.
    """
    size = subject.data.size

    def measured(names: Sequence[str] | None) -> Call:
        def call() -> None:
            found = evaluate(
                subject.module,
                subject.transform,
                subject.data,
                subject.truths,
                precision=settings.precision,
                names=names,
            )
            found.compute(*(() if names is None else (names,)))

        return call

    batches = predict.seconds(1, size)
    one = max(0.0, timed(measured([metric])) - batches)
    if not measured_as_tensors(subject.transform.target().kind):
        return one, one
    return one, max(0.0, timed(measured(None)) - batches)


def seconds_of(call: Call, *, device: torch.device | str, calls: int = CALLS) -> float:
    """The median time of `calls` calls after a first one, which counts where there is no time for more."""
    synchronize, clock = synchronizer(device), clock_of(torch.device(device))
    synchronize()
    seconds: list[float] = []
    while len(seconds) <= calls and sum(seconds) < LONG:
        began = clock()
        call()
        synchronize()
        seconds.append(clock() - began)
    return statistics.median(seconds[1:] or seconds)
