"""The costs of combinations: throughput, latency, parameters, FLOPs and memory.

Speed does not depend on the weights, so it is measured before any training, on models that are then discarded. Because
it is compared, all combinations are timed in one process, in interleaved rounds.

Combinations share frozen encoders. Each of these is timed once per round, and its time is added to that of the trained
part of each combination; otherwise a large encoder would run once for each combination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.experiments.subject import INFERENCE_BATCH, FrozenEncoder, Subject
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.records.record import Cost, Speed
from mmkit.speed.flops import flops_per_sample
from mmkit.speed.interleave import interleave
from mmkit.speed.memory import peak_memory
from mmkit.speed.throughput import Throughput, percentiles, throughput, waits
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
LATENCY = 0.1
"""The share of `MAX_SECONDS` that the latency of one module takes at most."""


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
            key: CombinationCost(Speed(**one["throughput"]), Cost(**one["cost"]))
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
    timed = interleave(calls, rounds=rounds, device=device, max_seconds=max_seconds)
    inference = Throughput(timed.summed(parts), INFERENCE_BATCH)
    stage("throughput of training")
    for subject in subjects.values():
        subject.step.train()
    steps = throughput(
        {key: subject.train for key, subject in subjects.items()},
        training.batch_size,
        rounds=rounds,
        device=device,
        max_seconds=max_seconds,
    )
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
        )
        costs[key] = CombinationCost(speed, subject.cost([flops[name] for name in parts[key][1:]], memory))
    return Costs(costs, {"inference": inference.as_json(), "train": steps.as_json()})
