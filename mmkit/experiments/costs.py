"""The costs of combinations: throughput, latency, parameters, FLOPs and memory.

Speed does not depend on the weights, so it is measured before any training, on models that are then discarded. Because
it is compared, all combinations are timed in one process, in interleaved rounds.

Combinations share frozen encoders. Each of these is timed once per round, and its time is added to that of the trained
part of each combination; otherwise a large encoder would run once for each combination.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.data.dataset import Dataset
from mmkit.data.readings import InputBatch
from mmkit.data.splits import Splits
from mmkit.data.subset import first
from mmkit.errors import MmkitError
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import Model, TrainingStep
from mmkit.records.record import Cost, Speed
from mmkit.speed.flops import Flops, added, flops_per_sample, parameters
from mmkit.speed.interleave import interleave
from mmkit.speed.memory import peak_memory
from mmkit.speed.throughput import Throughput, percentiles, throughput, waits
from mmkit.system.precision import autocast
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.frozen import Frozen
from mmkit.training.loop import losses
from mmkit.training.optimisation import Training


class CombinationCost(NamedTuple):
    """The cost of a combination, as in its record."""

    throughput: Speed
    cost: Cost


INFERENCE_BATCH = 64
"""Batch size of predictions for throughput."""


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
    rounds: int = 60,
    max_seconds: float = 20.0,
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
                _Subject,
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
    encoders: dict[str, _FrozenEncoder] = {}
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
    wait = partial(waits, device=device, max_seconds=max_seconds / 10)
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


class _Subject:
    """A model to be measured, with its batches."""

    def __init__(
        self,
        combination: Combination,
        splits: Splits,
        *,
        training: Training,
        settings: Settings,
        shared: Shared,
        features: Shared,
    ) -> None:
        self.device = device = torch.device(settings.device)
        self.precision = settings.precision
        train = splits.with_truth("train")
        samples = first(train, max(INFERENCE_BATCH, training.batch_size))
        with own_state(settings.device, seed=0):
            transforms = Transforms.fitted(
                combination, splits.task.target, train.inputs, train.truth, train.ids, shared
            )
            self.module, objectives = build_model(combination, transforms, shared)
        self.step = TrainingStep(self.module, objectives).to(device)
        self.prediction = _Prediction(self.module)
        frozen = Frozen(self.module, combination, transforms, settings, training.copies, features)
        transformed = Dataset.of(samples, transforms.inputs, transforms.truth, augment=False).to(device)
        # Not in groups: whether a batch comes in two depends on the samples, and combinations are compared.
        encoded = frozen.dataset(samples, augment=False).grouped(())
        rows = torch.arange(INFERENCE_BATCH) % transformed.size
        self.batch, self.one = transformed.batch(rows)[0], transformed.batch(rows[:1])[0]
        self.encoded, self.encoded_one = encoded.batch(rows)[0], encoded.batch(rows[:1])[0]
        self.frozen = {name: self.module.encoders[self.module.names[name]] for name in frozen.inputs}
        # A training step starts from the features of frozen encoders; a prediction starts from the batch.
        generator = torch.Generator().manual_seed(0)
        training_data = frozen.dataset(samples, augment=True).grouped(()).draw_copies(generator)
        index = torch.arange(training.batch_size) % training_data.size
        self.training_batch, self.truth = training_data.batch(index, generator)
        self.clip = training.clip
        self.optimizer = torch.optim.AdamW(self.step.parameters(), lr=1e-6, fused=device.type in {"cpu", "cuda"})

    def encoders(self, known: dict[str, _FrozenEncoder]) -> list[str]:
        """The names of its frozen encoders; those that are not in `known` are added to it."""
        names = []
        for name, encoder in self.frozen.items():
            names.append(f"encoder of {name}, {id(encoder)}")
            known.setdefault(names[-1], _FrozenEncoder(encoder, self.batch[name], self.one[name], self._forward))
        return names

    def predict(self) -> None:
        """Predict a batch from the features of frozen encoders."""
        self._forward(self.encoded)

    def predict_one(self) -> None:
        """Predict one sample from the features of frozen encoders."""
        self._forward(self.encoded_one)

    def _forward(self, batch: Mapping[str, InputBatch], module: nn.Module | None = None) -> None:
        with torch.inference_mode(), autocast(self.device, self.precision):
            (module or self.prediction)(batch)

    def train(self) -> None:
        """Do one training step."""
        loss = losses(self.step, self.training_batch, self.truth, self.precision)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.step.parameters(), self.clip, foreach=True)
        self.optimizer.step()

    def train_from_scratch(self) -> None:
        """Do one training step, then free gradients and optimizer state, so that each call allocates them."""
        self.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()

    def cost(self, encoders: Sequence[Flops], memory: int | None) -> Cost:
        """The cost of the model, from the FLOPs of its frozen encoders and its peak memory."""
        flops = added([flops_per_sample(self.prediction, self.encoded), *encoders])
        return Cost(*parameters(self.module), flops.per_sample, list(flops.uncounted), memory)


class _Prediction(nn.Module):
    """A whole prediction as one forward pass; texts are generated token by token, as long as the model makes them."""

    def __init__(self, module: Model) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Mapping[str, InputBatch]) -> Batch:
        return self.module.predict_batch(batch)


class _FrozenEncoder:
    """A frozen encoder that several models share, to be measured, with its batches."""

    def __init__(self, encoder: nn.Module, values: InputBatch, one: InputBatch, forward: Callable[..., None]) -> None:
        self.module = _EncoderAsModel(encoder)
        self.values = values
        self.encode = partial(forward, {"batch": values}, self.module)
        self.encode_one = partial(forward, {"batch": one}, self.module)


class _EncoderAsModel(nn.Module):
    """An encoder with the signature of a model."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Mapping[str, InputBatch]) -> Features:
        features: Features = self.encoder(batch["batch"])
        return Features.of(features.tokens, features.mask, features.pooled)
