"""The training loop: seeded, and bitwise reproducible on one machine's CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Batch
from mmkit.data.dataset import Dataset
from mmkit.data.loader import Loader
from mmkit.data.readings import InputBatch
from mmkit.data.sampling import augmentation, class_weights, epoch_order
from mmkit.errors import MmkitError
from mmkit.model.network import TrainingStep
from mmkit.pretrained.tuning import is_tuned
from mmkit.system.precision import Precision, autocast
from mmkit.system.progress import SILENT, Progress
from mmkit.system.state import own_state
from mmkit.training.averaging import Best
from mmkit.training.micro_batches import micro_batches
from mmkit.training.optimisation import Training, learning_rate_share, parameter_groups, set_rates


@dataclass(frozen=True)
class Trained:
    """The result of training. The training step then has the weights of the best epoch, or an average of several.

    Args:
        history: one entry per epoch: its number from 1, the mean loss, and the validation scores. Where the start is a
            candidate, it is epoch 0, without a loss.
        best: the epoch with the best score.
        averaged: the epochs whose weights were kept: that one, and those that were averaged with it.
        seconds: of all steps, without validation.
        loading: seconds of them in which the loop waited for batches.
        workers: threads that prefetched batches.
    """

    history: list[dict[str, Any]]
    best: int
    averaged: list[int]
    seconds: float = field(default=0.0, compare=False)
    loading: float = field(default=0.0, compare=False)
    workers: int = field(default=0, compare=False)


def fit(
    step: TrainingStep,
    data: Dataset,
    validate: Callable[[], tuple[float, Mapping[str, float | None]]],
    training: Training,
    *,
    seed: int,
    precision: Precision = "float32",
    progress: Progress = SILENT,
    workers: int | None = None,
    start_counts: bool = False,
) -> Trained:
    """Train the model of a step, and keep the weights of the epoch with the best validation score, or an average.

    Args:
        step: the model with its losses, on the data's device.
        data: the training split; all samples have truth.
        validate: returns the score that ranks epochs (higher is better), and scores for the history.
        training: options.
        seed: of order, augmentation and dropout.
        precision: of the forward pass, by autocast; weights stay float32.
        progress: receives each finished epoch.
        workers: threads that prefetch augmented batches; None decides by timing, see `Loader`. Results do not depend
            on it.
        start_counts: the weights before the first step are a candidate, too, as epoch 0.

    Raises:
        RejectedError: a transform that augments rejects values.
        MmkitError: the loss is not finite, or no epoch has a validation score.
    """
    device = data.device
    epochs, steps = training.plan(data.size)
    parameters = [p for p in step.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameter_groups(step, training), fused=device.type in {"cpu", "cuda"})
    scaler = torch.GradScaler(device.type, enabled=precision == "float16")
    order = Generator().manual_seed(seed)
    weights = class_weights(data.truth) if training.sampler == "balanced" else None
    history: list[dict[str, Any]] = []
    best = Best(training.average or 1)
    if start_counts:
        score, scores = validate()
        history.append({"epoch": 0, "loss": None, **scores})
        best.add(0, score, partial(snapshot, step))
    done, seconds, loading = 0, 0.0, 0.0
    with own_state(device, seed=seed), Loader(workers) as load:
        for epoch in range(1, epochs + 1):
            step.train()
            began = time.perf_counter()
            indices = epoch_order(data.size, weights, order)
            host_batches = indices.tensor_split(steps)
            # Once per epoch: a copy for each batch would wait for everything that the device still has to do.
            batches = host_batches if device.type == "cpu" else indices.to(device).tensor_split(steps)
            # Batch number `steps` does not exist, so copies are chosen by a generator that no batch uses.
            current = data.draw_copies(augmentation(seed, epoch, steps)) if data.copies else data
            prefetched = load(partial(_transformed, data, host_batches, seed, epoch), steps)
            total = torch.zeros((), device=device)
            for host, index in zip(host_batches, batches, strict=True):
                requested = time.perf_counter()
                # Without augmentation no generator is seeded: that would take 1 % of a small model's step.
                batch, truth = current.batch(index, host=host, ahead=next(prefetched) if data.live else None)
                loading += time.perf_counter() - requested
                set_rates(optimizer, learning_rate_share(done, epochs * steps, training.warmup))
                optimizer.zero_grad(set_to_none=True)
                total += _backward(step, batch, truth, training.micro_batch, precision, scaler)
                if training.clip is not None:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(parameters, training.clip, foreach=True)
                scaler.step(optimizer)
                scaler.update()
                done += 1
            mean = float(total) / steps
            seconds += time.perf_counter() - began
            if not math.isfinite(mean):
                rates = "--lr or train.tune_lr" if is_tuned(step) else "--lr"
                raise MmkitError(
                    f"the loss became {mean} in epoch {epoch}; try a lower {rates}, or --precision float32"
                )
            score, scores = validate()
            history.append({"epoch": epoch, "loss": mean, **scores})
            best.add(epoch, score, partial(snapshot, step))
            progress.update("epochs", epoch, epochs)
            if training.patience is not None and epoch - best.epoch >= training.patience:
                break
    if not best.checkpoints:
        raise MmkitError(
            f"validation gave no score in any of {len(history)} epochs, so there is no best one; the metric must be "
            "defined on the validation split"
        )
    return Trained(history, best.epoch, best.restore(step, validate), seconds, loading, load.workers)


def _transformed(data: Dataset, indices: Sequence[Tensor], seed: int, epoch: int, number: int) -> dict[str, Batch]:
    """The inputs of a batch of an epoch that are transformed when asked."""
    return data.made_ahead(indices[number], augmentation(seed, epoch, number))


def _backward(
    step: TrainingStep,
    batch: Mapping[str, InputBatch],
    truth: Batch,
    most: int | None,
    precision: Precision,
    scaler: torch.GradScaler,
) -> Tensor:
    """Add the gradients of a batch, in parts of `most` samples; gives the loss."""
    count = None if most is None else truth["mask"].sum()
    found = []
    for part, its_truth in micro_batches(batch, truth, most):
        loss = losses(step, part, its_truth, precision, count)
        scaler.scale(loss).backward()
        found.append(loss.detach())
    return torch.stack(found).sum() if len(found) > 1 else found[0]


def losses(
    step: TrainingStep,
    batch: Mapping[str, InputBatch],
    truth: Batch,
    precision: Precision,
    count: Tensor | None = None,
) -> Tensor:
    """The sum of all losses of a batch; of a part of one, `count` is the number of samples with truth in the whole."""
    with autocast(truth["mask"].device, precision):
        terms = list((step(batch, truth) if count is None else step(batch, truth, count))[0].values())
    return torch.stack(terms).sum() if len(terms) > 1 else terms[0]


def snapshot(step: TrainingStep) -> dict[str, Tensor]:
    """A copy of all weights. Parameters that are not trained are not copied, because a frozen backbone may be large."""
    constant = {name for name, p in step.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: t.detach() if name in constant else t.detach().clone() for name, t in step.state_dict().items()}
