"""The training loop: seeded, and bitwise reproducible on one machine's CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Split
from mmkit.data.dataset import Dataset
from mmkit.data.loader import Loader
from mmkit.data.readings import InputBatch
from mmkit.data.sampling import Sampling, augmentation
from mmkit.errors import ContractError, TrainingError
from mmkit.model.network import TrainingStep
from mmkit.pretrained.tuning import is_tuned
from mmkit.system.precision import Precision
from mmkit.system.progress import SILENT, Progress
from mmkit.system.ranks import Ranks, ranks
from mmkit.system.state import own_state
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.compiling import Compiled
from mmkit.training.descent import add_gradients, after_turn, takes_own_passes, turns_of
from mmkit.training.distributed import add_up, check_batches, norms_of_all
from mmkit.training.measuring import mean_losses
from mmkit.training.micro_batches import micro_batches, parts_of
from mmkit.training.optimisation import Training, learning_rate_share, set_rates
from mmkit.training.privacy_accounting import PrivacySpent
from mmkit.training.privacy_loop import privately, telling_spent
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
        private: what a private training has spent; None of another.
    """

    history: list[dict[str, Any]]
    best: int
    averaged: list[int]
    seconds: float = field(default=0.0, compare=False)
    loading: float = field(default=0.0, compare=False)
    workers: int = field(default=0, compare=False)
    planned: int = 0
    probed: Trained | None = None
    private: PrivacySpent | None = None


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
    held_out: Dataset | None = None,
) -> Trained:
    """Train the model of a step, and keep the weights of the epoch with the best validation score, or an average.

    On several ranks each calls it with the same, and has the same model in the end.

    Args:
        step: the model with its losses, on the data's device.
        data: the training split; all samples have truth.
        validate: returns the score that ranks epochs (higher is better), and scores for the history.
        training: options.
        seed: of order, augmentation and dropout; of a private training these hang on a key that nobody knows.
        precision: of the forward pass, by autocast; weights stay float32.
        progress: receives each finished epoch.
        workers: threads that prefetch augmented batches; None decides by timing, see `Loader`. Results do not depend
            on it.
        start_counts: the weights before the first step are a candidate, too, as epoch 0.
        keep: epochs that were chosen before. Their weights are averaged, and training ends after the last of them;
            nothing is validated. The schedule is that of all epochs.
        checkpoints: from which training goes on, and into which it is kept; None costs nothing. What is trained is the
            same, bit for bit on one machine's CPU.
        held_out: the validation split, for a balance method that measures on it.
        told: receives the entry of the history of each finished epoch, and the greatest learning rate of its last step.

    Raises:
        RejectedError: a transform that augments rejects values.
        UsageError: a batch has fewer samples than there are ranks; or a component, or what is asked for, does not go
            with private training.
        TrainingError: the loss is not finite, or no epoch has a validation score.
        UnavailableError: private training needs Opacus, which is not installed.
        KeyboardInterrupt: the user has ended the training; with `checkpoints` it is kept.
    """
    device, world = data.device, ranks()
    sampling = Sampling.of(training.sampler, data.truth)
    epochs, steps = training.plan(sampling.size)
    check_batches(sampling.size // steps, world)
    last = epochs if keep is None else max(keep)
    most = (training.average or 1) if keep is None else len(keep)
    state = State.new(step, training, device, seed, most=most, scaled=precision == "float16")
    data, state.private = privately(step, data, training, precision)
    forward = _forward(step, training, progress)
    found = None if checkpoints is None else checkpoints.found()
    if found is not None:
        state.restore(found)
    seed = seed if state.private is None else state.private.secret.seed
    with (
        own_state(device, seed=world.seed(seed)),
        norms_of_all(step, world),
        telling_spent(state, epochs * steps, checkpoints if found is None else None, progress),
        Loader(workers) as load,
        nullcontext() if checkpoints is None else checkpoints.interruptible(),
    ):
        if found is not None:
            state.restore_generators(found)
        elif start_counts:
            _judge(state, 0, None, validate, keep)  # inside: validation may draw, too
        for epoch in range(state.epoch, last + 1):
            _begin(state, epoch, partial(_measured, step, data, held_out, training, precision, seed))
            began = time.perf_counter()
            on_host = _drawn(state, sampling, steps)
            host_batches = [world.share(one) for one in on_host]
            # Once per epoch: a copy for each batch would wait for everything that the device still has to do.
            batches = on_host if device.type == "cpu" else _on(on_host, device)
            # Batch number `steps` does not exist, so copies are chosen by a generator that no batch uses.
            current = data.draw_copies(augmentation(seed, epoch, steps)) if data.copies else data
            at = state.number
            prefetched = load(partial(_transformed, data, host_batches, world.seed(seed), epoch, at), steps - at)
            for host, whole in zip(host_batches[at:], batches[at:], strict=True):
                requested = time.perf_counter()
                index = world.share(whole)
                # Without augmentation no generator is seeded: that would take 1 % of a small model's step.
                ahead = world.own(partial(next, prefetched)) if data.live else None  # one may reject values
                batch, truth = _read(current, index, host, ahead)
                state.loading += time.perf_counter() - requested
                set_rates(state.optimizer, learning_rate_share(state.done, epochs * steps, training.warmup))
                _descend(state, forward, batch, truth, training, precision, _parts(data, whole, training, world))
                if checkpoints is not None and state.number < steps:
                    state.seconds += time.perf_counter() - began
                    checkpoints.after_step(state.document)
                    began = time.perf_counter()
            loss = None if state.private else _finite(state, steps)  # no noise would cover it
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
        kept = _restored(state, validate, keep)
    return Trained(
        state.history,
        state.best.epoch,
        kept,
        state.seconds,
        state.loading,
        load.workers,
        epochs,
        private=None if state.private is None else state.private.spent(state.done),
    )


def _drawn(state: State, sampling: Sampling, steps: int) -> Sequence[Tensor]:
    """The samples of each step of an epoch, on the host."""
    if state.private is not None:
        return state.private.batches(state.epoch)
    return sampling.draw(state.order).tensor_split(steps)


def _read(
    data: Dataset, index: Tensor, host: Tensor, ahead: Mapping[str, Batch] | None
) -> tuple[Mapping[str, InputBatch], Batch]:
    """The batch of some samples with their places; of none, which a private training may draw, it is empty."""
    batch, truth = data.batch(index, host=host, ahead=ahead) if len(host) else ({}, {})
    return batch, {**truth, "index": index}


def _on(batches: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """The indices of batches on a device, by one copy."""
    return torch.cat(list(batches)).to(device).split([len(batch) for batch in batches])


def _forward(step: TrainingStep, training: Training, progress: Progress) -> Callable[..., Any]:
    """The step, compiled if that is asked for and possible."""
    balance = step.balance
    if training.compile and training.private is not None:
        progress.warn("the training step runs as it is: private training takes the gradient of each row alone")
        return step
    if training.compile and balance is not None and (balance.turns or takes_own_passes(step)):
        what = "turns" if balance.turns else "backward passes of its own"
        progress.warn(f"the training step runs as it is: its balance method takes {what}")
        return step
    return Compiled(step, progress.warn) if training.compile else step


def _begin(state: State, epoch: int, measure: Callable[[Split], Mapping[str, float]]) -> None:
    """Begin an epoch, or go on in one. A balance method is told of it once, before its first step."""
    if state.step.balance is not None and state.number == 0:
        state.step.balance.before_epoch(epoch, measure)
    state.step.train()


def _measured(
    step: TrainingStep,
    data: Dataset,
    held_out: Dataset | None,
    training: Training,
    precision: Precision,
    seed: int,
    split: Split,
) -> dict[str, float]:
    """The mean losses on train or validation, in evaluation.

    Raises:
        ContractError: another split, or validation where the spec of the balance method does not say that it is read.
    """
    known = {"train": data, "validation": held_out}
    chosen = known.get(split)
    if chosen is None:
        raise ContractError(
            f"a balance method measures on train, and on validation where its spec says validation=True; got {split}"
        )
    # Epoch 0 is none, so the copies and the augmentation of a training batch are not those that are measured on.
    chosen = chosen.draw_copies(augmentation(seed, 0, 0)) if chosen.copies else chosen
    return mean_losses(step, chosen, precision, size=training.batch_size, generator=partial(augmentation, seed, 0))


def _descend(
    state: State,
    forward: Callable[..., Any],
    batch: Mapping[str, InputBatch],
    truth: Batch,
    training: Training,
    precision: Precision,
    parts: Parts,
) -> None:
    """The step of a batch, or those of its turns, from this rank's share of it."""
    if state.private is not None:
        state.private.set_gradients(state.step, batch, truth, state.done)
        state.optimizer.step()
    for turns in turns_of(state.step) if state.private is None else ():
        state.optimizer.zero_grad(set_to_none=True)
        loss = _backward(state, forward, batch, truth, precision, parts)
        state.total += add_up(state.parameters, loss, ranks()) / turns
        after_turn(state.step)
        _update(state, training.clip)
    if state.ema is not None:
        state.ema.update()
    state.done += 1
    state.number += 1


def _update(state: State, clip: float | None) -> None:
    """Change the weights by the gradients of a batch."""
    if clip is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.parameters, clip, foreach=True)
    state.scaler.step(state.optimizer)
    state.scaler.update()


def _judge(
    state: State,
    epoch: int,
    loss: float | None,
    validate: Callable[[], tuple[float, Mapping[str, float | None]]],
    keep: Collection[int] | None,
) -> None:
    """Validate the weights, or their average over steps, and keep them if they are among the best, or were chosen."""
    with nullcontext() if state.ema is None else state.ema.applied():
        score, scores = ranks().agreed(validate()) if keep is None else (0.0 if epoch in keep else -math.inf, {})
        state.history.append({"epoch": epoch, "loss": loss, **scores})
        state.best.add(epoch, score, partial(snapshot, state.step))


def _restored(
    state: State, validate: Callable[[], tuple[float, Mapping[str, float | None]]], keep: Collection[int] | None
) -> list[int]:
    """Take back the best weights, or the average of several; gives their epochs."""
    best = state.best
    if not best.checkpoints:
        raise TrainingError(
            f"validation gave no score in any of {len(state.history)} epochs, so there is no best one; the metric must "
            "be defined on the validation split"
        )
    if keep is not None:
        return best.restore_all(state.step)
    return best.restore(state.step, lambda: ranks().agreed(validate()))


def _finite(state: State, steps: int) -> float:
    """The mean loss of an epoch; it waits for the device."""
    loss = float(state.total) / steps
    if not math.isfinite(loss):
        rates = "--lr or train.tune_lr" if is_tuned(state.step) else "--lr"
        raise TrainingError(
            f"the loss became {loss} in epoch {state.epoch}; try a lower {rates}, or --precision float32"
        )
    return loss


class Parts(NamedTuple):
    """In how many parts a batch passes.

    Args:
        number: of parts of each rank.
        known: number of samples with truth in the whole batch; None where it passes at once, on one rank.
    """

    number: int
    known: Tensor | None


def _parts(data: Dataset, whole: Tensor, training: Training, world: Ranks) -> Parts:
    """The parts of a batch. The truth of all of it is known to every rank, so the count needs no message."""
    number = parts_of(len(whole), training.micro_batch, world.world)
    return Parts(number, data.truth["mask"][whole].sum() if number > 1 or world.world > 1 else None)


def _transformed(
    data: Dataset, indices: Sequence[Tensor], seed: int, epoch: int, first: int, number: int
) -> dict[str, Batch]:
    """The inputs of a batch of an epoch, counted from the first that is left, that are transformed when asked."""
    if not len(indices[first + number]):
        return {}  # a private training draws rows by chance, and may draw none
    return data.made_ahead(indices[first + number], augmentation(seed, epoch, first + number))


def _backward(
    state: State,
    forward: Callable[..., Any],
    batch: Mapping[str, InputBatch],
    truth: Batch,
    precision: Precision,
    parts: Parts,
) -> Tensor:
    """Add the gradients of a batch, in parts; gives the loss."""
    found = [
        add_gradients(state.step, forward, part, its_truth, precision, count=parts.known, scaler=state.scaler)
        for part, its_truth in micro_batches(batch, truth, parts.number)
    ]
    return torch.stack(found).sum() if len(found) > 1 else found[0]
