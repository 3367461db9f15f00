"""The pace of a combination: how long its parts take on this machine, measured before anything is trained.

A few calls of each are timed in wall time, as they will run: a training step, a prediction, the making of a batch, a
pass of frozen encoders. It is what an estimate of a whole plan is made of; costs that are compared are measured with
more care, in interleaved rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.experiments.costs import LATENCY, MAX_SECONDS, ROUNDS, TWICE
from mmkit.experiments.subject import INFERENCE_BATCH, FrozenEncoder, Subject
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.speed.stopwatch import Call, stopwatch, synchronizer
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.optimisation import Training

CALLS = 5
"""Timed calls of each part, after a first one that warms up."""
LONG = 0.5
"""Seconds after which no further call is timed."""


@dataclass(frozen=True)
class Pace:
    """The seconds that parts of a combination take.

    Args:
        start: a run, before its first step.
        train: a training sample, from features of frozen encoders; with the making of its batch.
        predict: a sample of validation or test, likewise.
        probe: a training sample while encoders are probed that are tuned later; None where none are.
        once: a sample that is transformed, and encoded by a frozen encoder, once for all runs; by input and encoder.
    """

    start: float
    train: float
    predict: float
    probe: float | None
    once: Mapping[tuple[str, str], float]

    @property
    def rounds(self) -> float:
        """Seconds of its interleaved rounds where costs are measured, about."""
        shortest = stopwatch().min_block
        return sum(TWICE * ROUNDS * max(call * INFERENCE_BATCH, shortest) for call in (self.predict, self.train))

    @property
    def measuring(self) -> float:
        """Seconds of its latency where costs are measured, at most."""
        return MAX_SECONDS * LATENCY


def paces(
    combinations: Mapping[str, Combination], splits: Splits, training: Training, settings: Settings, shared: Shared
) -> dict[str, Pace]:
    """The pace of each combination, by key; of one that cannot be built there is none.

    Args:
        combinations: by key.
        splits: of the task; the training split gives the batches.
        training: `batch_size` is that of a training step.
        settings: device and precision are used.
        shared: what the runs share.
    """
    found = {}
    encode: dict[tuple[str, str], float] = {}
    features = Shared(progress=shared.progress)  # features of a few samples do not belong into the cache
    for key, combination in combinations.items():
        shared.progress.stage(f"pace of {combination.label}")
        make = partial(Subject, combination, training=training, settings=settings, shared=shared, features=features)
        try:
            with own_state(settings.device, seed=0):
                subject = splits.own().retry_without_rejected(make)
                found[key] = _pace(subject, combination, training, settings, encode)
        except (MmkitError, RuntimeError, ValueError):
            continue  # its runs will fail in the same way and record the reason
    return found


def _pace(
    subject: Subject,
    combination: Combination,
    training: Training,
    settings: Settings,
    encode: dict[tuple[str, str], float],
) -> Pace:
    """The pace of one; the seconds of a sample in each frozen encoder are added to `encode`, once for all of them."""
    timed = partial(seconds_of, device=settings.device)
    encoders: dict[str, FrozenEncoder] = {}
    subject.module.eval()
    for name, slot in zip(subject.frozen, subject.encoders(encoders), strict=True):
        key = name, str(combination.encoders[name])
        if key not in encode:  # warm from the samples that the subject has encoded
            encode[key] = timed(encoders[slot].encode, calls=0) / INFERENCE_BATCH
    predict = timed(subject.predict) / INFERENCE_BATCH
    subject.step.train()
    made = timed(subject.make_batch)
    train = (made + timed(subject.train)) / training.batch_size
    probe = timed(subject.probe) / training.batch_size if subject.tuned else None
    share = subject.transforming / len(combination.encoders)
    keys = [(name, str(choice)) for name, choice in combination.encoders.items()]
    once = {key: share + encode.get(key, 0.0) for key in keys}
    return Pace(subject.building, train, predict, probe, once)


def seconds_of(call: Call, *, device: torch.device | str, calls: int = CALLS) -> float:
    """The median wall time of `calls` calls after a first one, which counts where there is no time for more."""
    synchronize = synchronizer(device)
    synchronize()
    seconds: list[float] = []
    while len(seconds) <= calls and sum(seconds) < LONG:
        began = time.perf_counter()
        call()
        synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:] or seconds)
