"""A combination as a model with batches at hand, to be measured: a training step, a prediction, its frozen encoders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.data.dataset import Dataset
from mmkit.data.readings import InputBatch
from mmkit.data.sampling import Sampling
from mmkit.data.splits import Splits
from mmkit.data.subset import first
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms
from mmkit.model.combination import Combination
from mmkit.model.network import Model
from mmkit.model.step import build_step
from mmkit.records.record import Cost
from mmkit.speed.flops import Flops, added, flops_per_sample, parameters
from mmkit.system.precision import autocast
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.descent import add_gradients, after_turn, turns_of
from mmkit.training.frozen import Frozen
from mmkit.training.micro_batches import divisible, micro_batches, parts_of
from mmkit.training.optimisation import Training
from mmkit.training.phases import held

INFERENCE_BATCH = 64
"""Batch size of predictions for throughput."""
FEW = 4
"""Samples of a small training batch, whose time is nearly that of a step with no sample at all."""


def clock_of(device: torch.device) -> Callable[[], float]:
    """The clock of an estimate: the CPU time of this process where it computes in one thread, else wall time."""
    single = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if single else time.perf_counter


class Subject:
    """A model to be measured, with its batches.

    Args:
        combination: of the model.
        splits: the training split gives the batches.
        training: `batch_size` is that of a training step, `micro_batch` says in which parts it passes, `sampler` how
            many samples an epoch draws.
        settings: device and precision are used.
        shared: fitted transforms and frozen encoders.
        features: of the few samples; they are kept apart from those of whole splits.
    """

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
            clock = clock_of(self.device)
            began = clock()
            step = build_step(combination, transforms, shared, training.absence, training.mixup)
            self.building = clock() - began
        self.drawn = Sampling.of(training.sampler, transforms.read_truth(train, shared)).size / len(train)
        self.step = step.to(device)
        self.module = step.model
        self.prediction = _Prediction(self.module)
        frozen = Frozen(self.module, combination, transforms, settings, training.copies, features)
        began = clock()
        transformed = Dataset.of(samples, transforms.inputs, transforms.truth, augment=False).to(device)
        self.transforming = (clock() - began) / len(samples)
        # Not in groups: whether a batch comes in two depends on the samples, and combinations are compared.
        encoded = frozen.dataset(samples, augment=False).grouped(())
        rows = torch.arange(INFERENCE_BATCH) % transformed.size
        self.raw = transformed
        self.data, self.truths, self.transform = encoded, samples.truth, transforms.truth
        self.batch, self.one = transformed.batch(rows)[0], transformed.batch(rows[:1])[0]
        self.encoded, self.encoded_one = encoded.batch(rows)[0], encoded.batch(rows[:1])[0]
        self.frozen = {name: self.module.encoders[self.module.names[name]] for name in frozen.inputs}
        self.augmented = frozen.augmented
        # A training step starts from the features of frozen encoders; a prediction starts from the batch.
        generator = torch.Generator().manual_seed(0)
        training_data = frozen.dataset(samples, augment=True).grouped(()).draw_copies(generator)
        index = torch.arange(training.batch_size) % training_data.size
        self.make_batch = partial(training_data.batch, index, generator)
        self.make_few = partial(training_data.batch, index[:FEW], generator)
        self.training_batch, self.truth = self.make_batch()
        self.few, self.truth_of_few = self.make_few()
        self.tuned = [self.module.encoders[self.module.names[name]] for name in frozen.tuned]
        untuned = replace(frozen, untuned=True).dataset(samples, augment=True).grouped(()) if self.tuned else None
        self.probe_batch = untuned.draw_copies(generator).batch(index, generator)[0] if untuned else self.training_batch
        self.probe_few = untuned.draw_copies(generator).batch(index[:FEW], generator)[0] if untuned else self.few
        self.micro_batch = self.micro_batch_of_probe = training.micro_batch
        if self.tuned:
            fusion = combination.fusion
            in_parts = divisible(step, fusion.spec if fusion else None)
            self.micro_batch = training.tuning(divisible=in_parts).micro_batch
        self.clip = training.clip
        self.optimizer = torch.optim.AdamW(self.step.parameters(), lr=1e-6, fused=device.type in {"cpu", "cuda"})

    def encoders(self, known: dict[str, FrozenEncoder]) -> list[str]:
        """The names of its frozen encoders; those that are not in `known` are added to it."""
        names = []
        for name, encoder in self.frozen.items():
            names.append(f"encoder of {name}, {id(encoder)}")
            known.setdefault(names[-1], FrozenEncoder(encoder, self.batch[name], self.one[name], self._forward))
        return names

    def whole(self, size: int = INFERENCE_BATCH) -> Callable[[], Batch]:
        """A prediction of a batch of so many samples, frozen encoders included."""
        return self.whole_of(self.raw_batch(size))

    def whole_of(self, batch: Mapping[str, InputBatch]) -> Callable[[], Batch]:
        """A prediction of a batch of `raw_batch`."""
        return partial(self._forward, batch)

    def raw_batch(self, size: int) -> dict[str, InputBatch]:
        """A batch of so many samples, those of the split again and again."""
        return self.raw.batch(torch.arange(size) % self.raw.size)[0]

    def predict(self) -> None:
        """Predict a batch from the features of frozen encoders."""
        self._forward(self.encoded)

    def predict_one(self) -> None:
        """Predict one sample from the features of frozen encoders."""
        self._forward(self.encoded_one)

    def _forward(self, batch: Mapping[str, InputBatch], module: nn.Module | None = None) -> Any:
        with torch.inference_mode(), autocast(self.device, self.precision):
            return (module or self.prediction)(batch)

    def probe(self) -> None:
        """Do one training step of the first phase, in which encoders that are tuned later stay as they came."""
        with held(self.tuned):
            self._train(self.probe_batch, self.truth, self.micro_batch_of_probe)

    def train_few(self) -> None:
        """Do one training step of a few samples."""
        self._train(self.few, self.truth_of_few, self.micro_batch)

    def probe_some(self) -> None:
        """Do one training step of the first phase, of a few samples."""
        with held(self.tuned):
            self._train(self.probe_few, self.truth_of_few, self.micro_batch_of_probe)

    def train(self) -> None:
        """Do one training step, or those of its turns; of encoders that are tuned, one in which they are."""
        self._train(self.training_batch, self.truth, self.micro_batch)

    def _train(self, batch: Mapping[str, InputBatch], truth: Batch, micro_batch: int | None) -> None:
        truth = {**truth, "index": torch.arange(len(truth["mask"]), device=self.device)}
        parts = parts_of(len(truth["mask"]), micro_batch)
        count = truth["mask"].sum() if parts > 1 else None
        for _ in turns_of(self.step):
            self.optimizer.zero_grad(set_to_none=True)
            for part, its_truth in micro_batches(batch, truth, parts):
                add_gradients(self.step, self.step, part, its_truth, self.precision, count=count)
            after_turn(self.step)
            if self.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.step.parameters(), self.clip, foreach=True)
            self.optimizer.step()

    def train_from_scratch(self) -> None:
        """Do one training step, then free gradients and optimizer state, so that each call allocates them.

        It is in training mode, in which dropout keeps its masks, and without which recurrent layers have no gradient on
        CUDA; the model is left in the mode that it had.
        """
        training = self.module.training
        self.step.train()
        self.train()
        self.module.train(training)
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


class FrozenEncoder:
    """A frozen encoder that several models share, to be measured, with its batches."""

    def __init__(self, encoder: nn.Module, values: InputBatch, one: InputBatch, forward: Callable[..., Any]) -> None:
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
