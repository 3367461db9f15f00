"""What combinations cost: samples a second, latency, parameters, operations and memory, measured beside each other.

Speed does not hang on the weights, so it is measured before any training, on models that are thrown away; and since
it is compared, all combinations are timed in one process, in interleaved rounds.

A prediction begins with the encoders. Those that are frozen, which combinations share, are timed once a round, and what
they took is added to what the rest of each combination took: else a large one would run again for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.data.dataset import Dataset, Given
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
from mmkit.system.generators import preserved_generators
from mmkit.system.precision import autocast
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen
from mmkit.training.loop import losses
from mmkit.training.optimisation import Training


class CombinationCost(NamedTuple):
    """What a combination costs, as a record holds it."""

    throughput: Speed
    cost: Cost


INFERENCE_BATCH = 64
"""Samples that are predicted together where throughput is measured."""


@dataclass(frozen=True)
class Costs:
    """Of all combinations.

    Args:
        of: the cost of each combination, by its key; those that cannot be built are left out.
        rounds: the timings themselves, as plain values.
    """

    of: dict[str, CombinationCost]
    rounds: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        costs = {key: {"throughput": asdict(one.throughput), "cost": asdict(one.cost)} for key, one in self.of.items()}
        return {"costs": costs, "rounds": self.rounds}

    @staticmethod
    def of_document(document: Mapping[str, Any]) -> Costs:
        """What `document` gave."""
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
    """Measure all combinations.

    Args:
        combinations: by key.
        splits: of the task; the training split gives the batches.
        training: its `batch_size` is that of a training step.
        settings: device and precision are read.
        shared: what the runs have in common.
        rounds: of the interleaving.
        max_seconds: at most, for inference and for training each.
    """
    shared = shared or Shared()
    device = settings.device
    features = Shared(progress=shared.progress)  # of so few samples: in memory, whatever keeps those of all
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
            subjects[key].rest()
            subjects[key].train()
        except (MmkitError, RuntimeError, ValueError):
            # Its runs will fail in the same way and be recorded with the reason; the others are measured.
            subjects.pop(key, None)
    if not subjects:
        return Costs({}, {})
    tell = shared.progress.stage
    tell("throughput of inference")
    for subject in subjects.values():
        subject.module.eval()
    encoders: dict[str, _Alone] = {}
    parts = {key: [f"{key} rest", *subject.encoders(encoders)] for key, subject in subjects.items()}
    calls = {f"{key} rest": subject.rest for key, subject in subjects.items()}
    calls |= {name: encoder.batch for name, encoder in encoders.items()}
    timed = interleave(calls, rounds=rounds, device=device, max_seconds=max_seconds)
    inference = Throughput(timed.summed(parts), INFERENCE_BATCH)
    tell("throughput of training")
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
    tell("latency of frozen encoders")
    waited = {name: wait(encoder.one) for name, encoder in encoders.items()}
    flops = {name: flops_per_sample(encoder.module, {"batch": encoder.shown}) for name, encoder in encoders.items()}
    found = {}
    for key, subject in subjects.items():
        tell(f"latency and memory of {combinations[key].label}")
        memory = peak_memory(subject.train_and_forget, device=device, model=subject.module)
        subject.module.eval()
        of_parts = [wait(subject.rest_of_one), *(waited[name] for name in parts[key][1:])]
        speed = Speed(
            inference.samples_per_s(key),
            steps.samples_per_s(key),
            percentiles([sum(each) for each in zip(*of_parts, strict=False)]),
            inference.samples,
            steps.samples,
        )
        found[key] = CombinationCost(speed, subject.cost([flops[name] for name in parts[key][1:]], memory))
    return Costs(found, {"inference": inference.as_json(), "train": steps.as_json()})


class _Subject:
    """A model with batches to run on, never used for anything else."""

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
        shown = first(train, max(INFERENCE_BATCH, training.batch_size))
        with preserved_generators(settings.device):
            torch.manual_seed(0)
            transforms = Transforms.fitted(
                combination, splits.task.target, train.inputs, train.truth, train.ids, shared
            )
            self.module, objectives = build_model(combination, transforms, shared)
        self.step = TrainingStep(self.module, objectives).to(device)
        self.prediction = _Prediction(self.module)
        frozen = Frozen(self.module, combination, transforms, settings, training.copies, features)
        whole = Dataset.of(shown, transforms.inputs, transforms.truth, augment=False).to(device)
        ready = frozen.dataset(shown, augment=False)
        rows = torch.arange(INFERENCE_BATCH) % whole.size
        self.batch, self.one = whole.batch(rows)[0], whole.batch(rows[:1])[0]
        self.after, self.after_one = ready.batch(rows)[0], ready.batch(rows[:1])[0]
        self.frozen = {name: self.module.encoders[self.module.names[name]] for name in frozen.inputs}
        # A step trains from features where an encoder is frozen; a prediction begins with the batch.
        draw = torch.Generator().manual_seed(0)
        trained = frozen.dataset(shown, augment=True).draw_copies(draw)
        self.shown, self.truth = trained.batch(torch.arange(training.batch_size) % trained.size, draw)
        self.clip = training.clip
        self.optimizer = torch.optim.AdamW(self.step.parameters(), lr=1e-6, fused=device.type in {"cpu", "cuda"})

    def encoders(self, known: dict[str, _Alone]) -> list[str]:
        """The names of its frozen encoders among all that are `known`, to which those that are new are added."""
        names = []
        for name, encoder in self.frozen.items():
            names.append(f"encoder of {name}, {id(encoder)}")
            known.setdefault(names[-1], _Alone(encoder, self.batch[name], self.one[name], self._forward))
        return names

    def rest(self) -> None:
        """A prediction from where the frozen encoders end."""
        self._forward(self.after)

    def rest_of_one(self) -> None:
        """The same of one sample."""
        self._forward(self.after_one)

    def _forward(self, batch: Mapping[str, Given], module: nn.Module | None = None) -> None:
        with torch.inference_mode(), autocast(self.device, self.precision):
            (module or self.prediction)(batch)

    def train(self) -> None:
        loss = losses(self.step, self.shown, self.truth, self.precision)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.step.parameters(), self.clip, foreach=True)
        self.optimizer.step()

    def train_and_forget(self) -> None:
        """A step that begins and ends without gradients and without the optimizer's state: it needs room for both."""
        self.train()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()

    def cost(self, encoders: Sequence[Flops], memory: int | None) -> Cost:
        flops = added([flops_per_sample(self.prediction, self.after), *encoders])
        return Cost(*parameters(self.module), flops.per_sample, list(flops.uncounted), memory)


class _Prediction(nn.Module):
    """What a caller asks for, as one forward: a text as long as the untrained model makes it, token by token."""

    def __init__(self, module: Model) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Mapping[str, Given]) -> Batch:
        return self.module.predict_batch(batch)


class _Alone:
    """A frozen encoder, which several models share, with batches to run on."""

    def __init__(self, encoder: nn.Module, shown: Given, one: Given, forward: Callable[..., None]) -> None:
        self.module = _Called(encoder)
        self.shown = shown
        self.batch = partial(forward, {"batch": shown}, self.module)
        self.one = partial(forward, {"batch": one}, self.module)


class _Called(nn.Module):
    """An encoder that is called as models are."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Mapping[str, Given]) -> Features:
        found: Features = self.encoder(batch["batch"])
        return Features.of(found.tokens, found.mask, found.pooled)
