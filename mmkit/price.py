"""What combinations cost: samples a second, latency, parameters, operations and memory, measured beside each other.

Speed does not hang on the weights, so it is measured before any training, on models that are thrown away; and since
it is compared, all combinations are timed in one process, in interleaved rounds.

A prediction begins with the encoders. Those that are frozen, which combinations share, are timed once a round, and what
they took is added to what the rest of each combination took: else a large one would run again for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mmkit.combination import Combination, Transforms, born
from mmkit.contract import Batch, Features, Samples
from mmkit.data.dataset import Dataset, Given
from mmkit.data.picking import first
from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.features.shared import Shared
from mmkit.frozen import Frozen
from mmkit.measure.cost import Flops, added, flops_per_sample, parameters
from mmkit.measure.interleave import interleave
from mmkit.measure.memory import peak_memory
from mmkit.measure.throughput import Throughput, percentiles, throughput, waits
from mmkit.model import Model, TrainingStep
from mmkit.train import Precision, Training, autocast, losses

Price = dict[str, Any]
"""`throughput` and `cost`, as a record holds them."""

INFERENCE_BATCH = 64
"""Samples that are predicted together where throughput is measured."""


@dataclass(frozen=True)
class Prices:
    """Of all combinations.

    Args:
        of: the price of each combination, by its key; those that cannot be built are left out.
        rounds: the timings themselves, as plain values.
    """

    of: dict[str, Price]
    rounds: dict[str, Any]


def prices(
    combinations: Mapping[str, Combination],
    splits: Splits,
    training: Training,
    device: str,
    precision: Precision,
    shared: Shared | None = None,
    *,
    rounds: int = 60,
    max_seconds: float = 20.0,
    report: Callable[[str], None] | None = None,
) -> Prices:
    """Measure all combinations.

    Args:
        combinations: by key.
        splits: of the task; the training split gives the batches.
        training: its `batch_size` is that of a training step.
        device: where models run.
        precision: of the forward.
        shared: what the runs have in common.
        rounds: of the interleaving.
        max_seconds: at most, for inference and for training each.
        report: called with what is measured next.
    """
    shared = shared or Shared()
    cut: dict[int, tuple[Samples, Samples]] = {}

    def excerpt(train: Samples) -> Samples:
        """The first of them: for the same samples the same ones, by which subjects know what they share."""
        made = train, first(train, max(INFERENCE_BATCH, training.batch_size))
        return cut.setdefault(id(train), made)[1]

    features = Shared(note=shared.note)  # of so few samples: in memory, whatever keeps those of all
    subjects = {}
    for key, combination in combinations.items():
        try:
            make = partial(
                _Subject,
                combination,
                excerpt=excerpt,
                training=training,
                device=torch.device(device),
                precision=precision,
                shared=shared,
                features=features,
            )
            subjects[key] = splits.own().use(make)
            subjects[key].rest()
            subjects[key].train()
        except (MmkitError, RuntimeError, ValueError):
            # Its runs will fail in the same way and be recorded with the reason; the others are measured.
            subjects.pop(key, None)
    if not subjects:
        return Prices({}, {})
    tell = report or (lambda _: None)
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
        found[key] = {
            "throughput": {
                "inference_samples_per_s": inference.samples_per_s(key),
                "train_samples_per_s": steps.samples_per_s(key),
                "latency_ms": percentiles([sum(each) for each in zip(*of_parts, strict=False)]),
                "inference_batch_size": inference.samples,
                "train_batch_size": steps.samples,
            },
            "cost": subject.cost([flops[name] for name in parts[key][1:]]) | {"peak_memory_bytes": memory},
        }
    return Prices(found, {"inference": inference.as_json(), "train": steps.as_json()})


class _Subject:
    """A model with batches to run on, never used for anything else."""

    def __init__(
        self,
        combination: Combination,
        splits: Splits,
        *,
        excerpt: Callable[[Samples], Samples],
        training: Training,
        device: torch.device,
        precision: Precision,
        shared: Shared,
        features: Shared,
    ) -> None:
        self.device = device
        self.precision = precision
        train = splits.with_truth("train")
        shown = excerpt(train)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            transforms = Transforms.fitted(
                combination, splits.task.target, train.inputs, train.truth, train.ids, shared
            )
            self.module, objectives = born(combination, transforms, shared)
        self.step = TrainingStep(self.module, objectives).to(device)
        self.prediction = _Prediction(self.module)
        frozen = Frozen(self.module, combination, transforms, precision, training.copies, features)
        whole = Dataset.of(shown, transforms.inputs, transforms.truth, augment=False).to(device)
        ready = frozen.dataset(shown, augment=False)
        rows = torch.arange(INFERENCE_BATCH) % whole.size
        self.batch, self.one = whole.batch(rows)[0], whole.batch(rows[:1])[0]
        self.after, self.after_one = ready.batch(rows)[0], ready.batch(rows[:1])[0]
        self.frozen = {name: self.module.encoders[self.module.names[name]] for name in frozen.inputs}
        # A step trains from features where an encoder is frozen; a prediction begins with the batch.
        draw = torch.Generator().manual_seed(0)
        trained = frozen.dataset(shown, augment=True).drawn(draw)
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

    def cost(self, encoders: Sequence[Flops]) -> dict[str, Any]:
        total, trained = parameters(self.module)
        flops = added([flops_per_sample(self.prediction, self.after), *encoders])
        return {
            "parameters": total,
            "trainable_parameters": trained,
            "flops_per_sample": flops.per_sample,
            "flops_uncounted": list(flops.uncounted),
        }


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
