"""What combinations cost: samples a second, latency, parameters, operations and memory, measured beside each other.

Speed does not hang on the weights, so it is measured before any training, on models that are thrown away; and since
it is compared, all combinations are timed in one process, in interleaved rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from mmkit.combination import Combination, Transforms, born
from mmkit.contract import Batch
from mmkit.data import Dataset, Given, Splits, first, with_truth
from mmkit.errors import MmkitError
from mmkit.frozen import Frozen
from mmkit.measure.cost import flops_per_sample, parameters
from mmkit.measure.memory import peak_memory
from mmkit.measure.throughput import latency, throughput
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
        rounds: of the interleaving.
        max_seconds: at most, for inference and for training each.
        report: called with what is measured next.
    """
    subjects = {}
    for key, combination in combinations.items():
        try:
            make = partial(_Subject, combination, training=training, device=torch.device(device), precision=precision)
            subjects[key] = splits.own().use(make)
            subjects[key].predict()
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
    inference = throughput(
        {key: subject.predict for key, subject in subjects.items()},
        len(next(iter(subjects.values())).rows),
        rounds=rounds,
        device=device,
        max_seconds=max_seconds,
    )
    tell("throughput of training")
    for subject in subjects.values():
        subject.step.train()
    steps = throughput(
        {key: subject.train for key, subject in subjects.items()},
        next(iter(subjects.values())).step_size,
        rounds=rounds,
        device=device,
        max_seconds=max_seconds,
    )
    found = {}
    for key, subject in subjects.items():
        tell(f"latency and memory of {combinations[key].label}")
        memory = peak_memory(subject.train_and_forget, device=device, model=subject.module)
        subject.module.eval()
        found[key] = {
            "throughput": {
                "inference_samples_per_s": inference.samples_per_s(key),
                "train_samples_per_s": steps.samples_per_s(key),
                "latency_ms": latency(subject.predict_one, device=device, max_seconds=max_seconds / 10),
                "inference_batch_size": inference.samples,
                "train_batch_size": steps.samples,
            },
            "cost": subject.cost() | {"peak_memory_bytes": memory},
        }
    return Prices(found, {"inference": inference.as_json(), "train": steps.as_json()})


class _Subject:
    """A model with batches to run on, never used for anything else."""

    def __init__(
        self, combination: Combination, splits: Splits, training: Training, device: torch.device, precision: Precision
    ) -> None:
        self.device = device
        self.precision = precision
        train = with_truth(splits("train"))
        transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth, train.ids)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module, objectives = born(combination, transforms)
        self.step = TrainingStep(self.module, objectives).to(device)
        few = first(train, max(INFERENCE_BATCH, training.batch_size))
        data = Dataset.of(few, transforms.inputs, transforms.truth, augment=False).to(device)
        self.rows = torch.arange(INFERENCE_BATCH) % data.size
        self.step_size = training.batch_size
        self.batch = data.batch(self.rows)[0]
        self.one = data.batch(self.rows[:1])[0]
        # A step trains from features where an encoder is frozen; a prediction begins with the batch.
        frozen = Frozen(self.module, combination, transforms, precision)
        ready = frozen.dataset(few, augment=True)
        self.shown, self.truth = ready.batch(torch.arange(self.step_size) % data.size, torch.Generator().manual_seed(0))
        self.clip = training.clip
        self.optimizer = torch.optim.AdamW(self.step.parameters(), lr=1e-6, fused=device.type in {"cpu", "cuda"})

    def predict(self) -> None:
        self._forward(self.batch)

    def predict_one(self) -> None:
        self._forward(self.one)

    def _forward(self, batch: Mapping[str, Given]) -> None:
        with torch.inference_mode(), autocast(self.device, self.precision):
            self.module.predict_batch(batch)  # a text is made token by token, which is most of its price

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

    def cost(self) -> dict[str, Any]:
        total, trained = parameters(self.module)
        flops = flops_per_sample(_Prediction(self.module), self.batch)
        return {
            "parameters": total,
            "trainable_parameters": trained,
            "flops_per_sample": flops.per_sample,
            "flops_uncounted": list(flops.uncounted),
        }


class _Prediction(nn.Module):
    """What a caller asks for, as one forward: a text as long as the untrained model makes it."""

    def __init__(self, module: Model) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Mapping[str, Given]) -> Batch:
        return self.module.predict_batch(batch)
