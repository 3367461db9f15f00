"""The training loop: seeded, and bitwise reproducible on one machine's CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

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
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.compiling import Compiled
from mmkit.training.micro_batches import micro_batches
from mmkit.training.optimisation import Training, learning_rate_share, set_rates
from mmkit.training.state import State, snapshot


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
        planned: the number of epochs that the schedule of rates hangs on.
        probed: the course of the phase before it, if there was one.
    """

    history: list[dict[str, Any]]
    best: int
    averaged: list[int]
    seconds: float = field(default=0.0, compare=False)
    loading: float = field(default=0.0, compare=False)
    workers: int = field(default=0, compare=False)
    planned: int = 0
    probed: Trained | None = None


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
    keep: Collection[int] | None = None,
    checkpoints: Checkpoints | None = None,
    told: Callable[[Mapping[str, Any], float], None] | None = None,
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
        keep: epochs that were chosen before. Their weights are averaged, and training ends after the last of them;
            nothing is validated. The schedule is that of all epochs.
        checkpoints: from which training goes on, and into which it is kept; None costs nothing. What is trained is the
            same, bit for bit on one machine's CPU.
        told: receives the entry of the history of each finished epoch, and the greatest learning rate of its last step.

    Raises:
        RejectedError: a transform that augments rejects values.
        MmkitError: the loss is not finite, or no epoch has a validation score.
        KeyboardInterrupt: the user has ended the training; with `checkpoints` it is kept.
    """
    device = data.device
    epochs, steps = training.plan(data.size)
    last = epochs if keep is None else max(keep)
    most = (training.average or 1) if keep is None else len(keep)
    state = State.new(step, training, device, seed, most=most, scaled=precision == "float16")
    weights = class_weights(data.truth) if training.sampler == "balanced" else None
    forward = Compiled(step, progress.warn) if training.compile else step
    found = None if checkpoints is None else checkpoints.found()
    if found is not None:
        state.restore(found)
    elif start_counts:
        _judge(state, 0, None, validate, keep)
    with (
        own_state(device, seed=seed),
        Loader(workers) as load,
        nullcontext() if checkpoints is None else checkpoints.interruptible(),
    ):
        if found is not None:
            state.restore_generators(found)
        for epoch in range(state.epoch, last + 1):
            step.train()
            began = time.perf_counter()
            indices = epoch_order(data.size, weights, state.order)
            host_batches = indices.tensor_split(steps)
            # Once per epoch: a copy for each batch would wait for everything that the device still has to do.
            batches = host_batches if device.type == "cpu" else indices.to(device).tensor_split(steps)
            # Batch number `steps` does not exist, so copies are chosen by a generator that no batch uses.
            current = data.draw_copies(augmentation(seed, epoch, steps)) if data.copies else data
            at = state.number
            prefetched = load(partial(_transformed, data, host_batches, seed, epoch, at), steps - at)
            for host, index in zip(host_batches[at:], batches[at:], strict=True):
                requested = time.perf_counter()
                # Without augmentation no generator is seeded: that would take 1 % of a small model's step.
                batch, truth = current.batch(index, host=host, ahead=next(prefetched) if data.live else None)
                state.loading += time.perf_counter() - requested
                set_rates(state.optimizer, learning_rate_share(state.done, epochs * steps, training.warmup))
                state.optimizer.zero_grad(set_to_none=True)
                state.total += _backward(forward, batch, truth, training.micro_batch, precision, state.scaler)
                _update(state, training.clip)
                if checkpoints is not None and state.number < steps:
                    state.seconds += time.perf_counter() - began
                    checkpoints.after_step(state.document)
                    began = time.perf_counter()
            loss = _finite(state, steps)
            state.seconds += time.perf_counter() - began
            _judge(state, epoch, loss, validate, keep)
            progress.update("epochs", epoch, last)
            if told is not None:
                told(state.history[-1], max(group["lr"] for group in state.optimizer.param_groups))
            if keep is None and training.patience is not None and epoch - state.best.epoch >= training.patience:
                break
            state.next_epoch()
            if checkpoints is not None:
                checkpoints.after_epoch(epoch, state.document)
    best = state.best
    if not best.checkpoints:
        raise MmkitError(
            f"validation gave no score in any of {len(state.history)} epochs, so there is no best one; the metric must "
            "be defined on the validation split"
        )
    kept = best.restore(step, validate) if keep is None else best.restore_all(step)
    return Trained(state.history, best.epoch, kept, state.seconds, state.loading, load.workers, epochs)


def _update(state: State, clip: float | None) -> None:
    """Change the weights by the gradients of a batch."""
    if clip is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.parameters, clip, foreach=True)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update()
    state.done += 1
    state.number += 1


def _judge(
    state: State,
    epoch: int,
    loss: float | None,
    validate: Callable[[], tuple[float, Mapping[str, float | None]]],
    keep: Collection[int] | None,
) -> None:
    """Validate the weights, or their average over steps, and keep them if they are among the best, or were chosen."""
    with nullcontext() if state.ema is None else state.ema.applied():
        score, scores = validate() if keep is None else (0.0 if epoch in keep else -math.inf, {})
        state.history.append({"epoch": epoch, "loss": loss, **scores})
        state.best.add(epoch, score, partial(snapshot, state.step))


def _finite(state: State, steps: int) -> float:
    """The mean loss of an epoch; it waits for the device."""
    loss = float(state.total) / steps
    if not math.isfinite(loss):
        rates = "--lr or train.tune_lr" if is_tuned(state.step) else "--lr"
        raise MmkitError(f"the loss became {loss} in epoch {state.epoch}; try a lower {rates}, or --precision float32")
    return loss


def _transformed(
    data: Dataset, indices: Sequence[Tensor], seed: int, epoch: int, first: int, number: int
) -> dict[str, Batch]:
    """The inputs of a batch of an epoch, counted from the first that is left, that are transformed when asked."""
    return data.made_ahead(indices[first + number], augmentation(seed, epoch, first + number))


def _backward(
    step: Callable[..., Any],
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
    step: Callable[..., Any],
    batch: Mapping[str, InputBatch],
    truth: Batch,
    precision: Precision,
    count: Tensor | None = None,
) -> Tensor:
    """The sum of all losses of a batch; of a part of one, `count` is the number of samples with truth in the whole."""
    with autocast(truth["mask"].device, precision):
        terms = list((step(batch, truth) if count is None else step(batch, truth, count))[0].values())
    return torch.stack(terms).sum() if len(terms) > 1 else terms[0]
