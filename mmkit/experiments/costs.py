"""The costs of combinations: throughput, latency, parameters, FLOPs and memory.

Speed does not depend on the weights, so it is measured before any training, on models that are then discarded. Because
it is compared, all combinations are timed in one process, in interleaved rounds.

Combinations share frozen encoders. Each of these is timed once per round, and its time is added to that of the trained
part of each combination; otherwise a large encoder would run once for each combination.

Everything is timed twice in each round, as a candidate and as its twin: how far the two differ says how far the machine
lets times be told apart. Beside them runs a fixed program, by which times of two suites can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.experiments.subject import INFERENCE_BATCH, FrozenEncoder, Subject
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.record import Cost, Speed, Twin
from mmkit.speed.flops import flops_per_sample
from mmkit.speed.interleave import Timings, compare, interleave
from mmkit.speed.memory import peak_memory
from mmkit.speed.reference import reference
from mmkit.speed.stopwatch import Call
from mmkit.speed.throughput import Throughput, percentiles, waits
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.optimisation import Training


class CombinationCost(NamedTuple):
    """The cost of a combination, as in its record."""

    throughput: Speed
    cost: Cost


ROUNDS = 60
"""Interleaved rounds of a measurement, at most."""
MAX_SECONDS = 20.0
"""Seconds that the throughput of inference takes at most, and that of training."""
TWICE = 2
"""How often a round times each candidate: itself, and its twin."""
LATENCY = 0.1
"""The share of `MAX_SECONDS` that the latency of one module takes at most."""


STEP = ("batch_size", "micro_batch", "clip", "copies", "mixup", "missing", "modality_dropout", "modality_draw")
"""The options of training that change what a step is made of."""
_QUARTILE = 0.67449
"""The third quartile of the standard normal distribution."""


@dataclass(frozen=True)
class Costs:
    """The costs of all combinations.

    Args:
        of: the cost of each combination, by key; combinations that cannot be built are left out.
        rounds: the timings, as plain values.
    """

    of: dict[str, CombinationCost]
    rounds: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        costs = {key: {"throughput": asdict(one.throughput), "cost": asdict(one.cost)} for key, one in self.of.items()}
        return {"costs": costs, "rounds": self.rounds}

    @staticmethod
    def of_document(document: Mapping[str, Any]) -> Costs:
        """The costs that `document` wrote."""
        costs = {
            key: CombinationCost(_speed(**one["throughput"]), Cost(**one["cost"]))
            for key, one in document["costs"].items()
        }
        return Costs(costs, document["rounds"])


def measure_costs(
    combinations: Mapping[str, Combination],
    splits: Splits,
    training: Training,
    settings: Settings,
    shared: Shared | None = None,
    *,
    rounds: int = ROUNDS,
    max_seconds: float = MAX_SECONDS,
) -> Costs:
    """Measure the costs of combinations.

    Args:
        combinations: by key.
        splits: of the task; the training split gives the batches.
        training: `batch_size` is that of a training step.
        settings: device and precision are used.
        shared: what the runs share.
        rounds: number of interleaved rounds.
        max_seconds: limit for inference and for training each.
    """
    with own_state(settings.device, seed=0):
        return _measured(combinations, splits, training, settings, shared or Shared(), rounds, max_seconds)


def _measured(
    combinations: Mapping[str, Combination],
    splits: Splits,
    training: Training,
    settings: Settings,
    shared: Shared,
    rounds: int,
    max_seconds: float,
) -> Costs:
    device = settings.device
    features = Shared(progress=shared.progress)  # features of a few samples do not belong into the cache
    subjects = {}
    for key, combination in combinations.items():
        try:
            make = partial(
                Subject,
                combination,
                training=training,
                settings=settings,
                shared=shared,
                features=features,
            )
            subjects[key] = splits.own().retry_without_rejected(make)
            subjects[key].predict()
            subjects[key].train()
        except (MmkitError, RuntimeError, ValueError):
            # Its runs will fail in the same way and record the reason; the others are measured.
            subjects.pop(key, None)
    if not subjects:
        return Costs({}, {})
    stage = shared.progress.stage
    stage("throughput of inference")
    for subject in subjects.values():
        subject.module.eval()
    encoders: dict[str, FrozenEncoder] = {}
    parts = {key: [f"{key} trained part", *subject.encoders(encoders)] for key, subject in subjects.items()}
    calls = {f"{key} trained part": subject.predict for key, subject in subjects.items()}
    calls |= {name: encoder.encode for name, encoder in encoders.items()}
    time = partial(_with_twins, rounds=rounds, device=device, max_seconds=max_seconds)
    timed, twins_inference = time(calls, parts)
    inference = Throughput(timed, INFERENCE_BATCH)
    stage("throughput of training")
    for subject in subjects.values():
        subject.step.train()
    timed, twins_train = time(
        {key: subject.train for key, subject in subjects.items()}, {key: [key] for key in subjects}
    )
    steps = Throughput(timed, training.batch_size)
    wait = partial(waits, device=device, max_seconds=max_seconds * LATENCY)
    stage("latency of frozen encoders")
    latencies = {name: wait(encoder.encode_one) for name, encoder in encoders.items()}
    flops = {name: flops_per_sample(encoder.module, {"batch": encoder.values}) for name, encoder in encoders.items()}
    costs = {}
    for key, subject in subjects.items():
        stage(f"latency and memory of {combinations[key].label}")
        memory = peak_memory(subject.train_from_scratch, device=device, model=subject.module)
        subject.module.eval()
        of_parts = [wait(subject.predict_one), *(latencies[name] for name in parts[key][1:])]
        speed = Speed(
            inference.samples_per_s(key),
            steps.samples_per_s(key),
            percentiles([sum(each) for each in zip(*of_parts, strict=False)]),
            inference.samples,
            steps.samples,
            {"inference": twins_inference[key], "train": twins_train[key]},
        )
        costs[key] = CombinationCost(speed, subject.cost([flops[name] for name in parts[key][1:]], memory))
    return Costs(costs, {"inference": inference.as_json(), "train": steps.as_json()})


def _with_twins(
    calls: Mapping[str, Call],
    parts: Mapping[str, Sequence[str]],
    *,
    rounds: int,
    device: str,
    max_seconds: float,
) -> tuple[Timings, dict[str, Twin]]:
    """Time calls, each with its twin, and a fixed program beside them.

    Args:
        calls: by name.
        parts: the calls that each candidate consists of, by its name.
        rounds: see `interleave`.
        device: see `interleave`.
        max_seconds: see `interleave`.

    Returns:
        The timings of the candidates, and the twin of each.
    """
    twins = {f"{name}, twin": call for name, call in calls.items()}
    timed = interleave(
        {**calls, **twins, "reference": reference(device)}, rounds=rounds, device=device, max_seconds=max_seconds
    )
    found = timed.summed(parts)
    of_twins = timed.summed({key: [f"{name}, twin" for name in of] for key, of in parts.items()})
    pace = 1000 * timed.median("reference")
    compared = {key: compare(of_twins.seconds[key], found.seconds[key]) for key in parts}
    return found, {
        key: Twin(one.ratio, one.low, one.high, _spread(found.quartiles(key)), pace, one.visible)
        for key, one in compared.items()
    }


def _spread(quartiles: tuple[float, float]) -> float:
    """The standard deviation of the logarithms of times with these quartiles, were they normal."""
    low, high = quartiles
    return (math.log(high) - math.log(low)) / (2 * _QUARTILE)


def _speed(*, twins: Mapping[Literal["inference", "train"], Mapping[str, float]], **rest: Any) -> Speed:
    """The speed of a document."""
    return Speed(**rest, twins={name: Twin(**one) for name, one in twins.items()})
