"""Training: one loop over tensors, lean, seeded, and repeatable to the bit on one machine's CPU."""

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
from mmkit.data.dataset import Dataset, Given
from mmkit.data.loader import Loader
from mmkit.data.sampling import augmentation, class_weights, epoch_order
from mmkit.errors import MmkitError
from mmkit.model.network import TrainingStep
from mmkit.system.precision import Precision, autocast
from mmkit.system.progress import SILENT, Progress
from mmkit.training.optimisation import Training, learning_rate_share, parameter_groups


@dataclass(frozen=True)
class Trained:
    """What training gave; the step holds the weights of the best epoch.

    Args:
        history: one entry an epoch: its number from 1, the mean loss, and the validation scores.
        best: the epoch whose weights were kept.
        seconds: of all steps, without validation.
        loading: seconds of them in which the loop waited for its batches.
        workers: threads that made batches ahead.
    """

    history: list[dict[str, Any]]
    best: int
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
) -> Trained:
    """Train the step's model on the data, and keep the weights of the epoch that validation finds best.

    Args:
        step: the model with its losses, on the data's device.
        data: the training split, all of it with truth.
        validate: the score that ranks epochs (higher is better), and all that is worth keeping of an epoch.
        training: options.
        seed: of order, augmentation and dropout.
        precision: of the forward, by autocast; weights stay float32.
        progress: told of each epoch that ends.
        workers: threads that make augmented batches ahead; None finds out whether they pay, see `Loader`. They change
            no result.

    Raises:
        RejectedError: values that a transform which augments does not take.
        MmkitError: the loss is not finite, or validation finds no score in any epoch.
    """
    device = data.truth["mask"].device
    epochs, steps = training.plan(data.size)
    parameters = [p for p in step.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameter_groups(step), lr=training.lr, weight_decay=training.weight_decay, fused=device.type in {"cpu", "cuda"}
    )
    scaler = torch.GradScaler(device.type, enabled=precision == "float16")
    torch.manual_seed(seed)
    order = Generator().manual_seed(seed)
    weights = class_weights(data.truth) if training.sampler == "balanced" else None
    history: list[dict[str, Any]] = []
    best_epoch, best_score, best_state = 0, -math.inf, snapshot(step)
    done, seconds, loading = 0, 0.0, 0.0
    with Loader(workers) as load:
        for epoch in range(1, epochs + 1):
            step.train()
            began = time.perf_counter()
            whole = epoch_order(data.size, weights, order)
            shown = whole.tensor_split(steps)
            # Once per epoch: a copy for each batch would wait for all that the device was asked to do before.
            placed = shown if device.type == "cpu" else whole.to(device).tensor_split(steps)
            # One past the last batch of an epoch: what copies are drawn from is no batch's generator.
            current = data.draw_copies(augmentation(seed, epoch, steps)) if data.copies else data
            fresh = load(partial(_fresh, data, shown, seed, epoch), steps)
            total = torch.zeros((), device=device)
            for index in placed:
                asked = time.perf_counter()
                # Nothing is seeded where nothing augments: that would cost a percent of a small model's step.
                batch, truth = current.batch(index, fresh=next(fresh) if data.augmented else {})
                loading += time.perf_counter() - asked
                share = learning_rate_share(done, epochs * steps, training.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = training.lr * group["share"] * share
                loss = losses(step, batch, truth, precision)
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                if training.clip is not None:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(parameters, training.clip, foreach=True)
                scaler.step(optimizer)
                scaler.update()
                total += loss.detach()
                done += 1
            mean = float(total) / steps
            seconds += time.perf_counter() - began
            if not math.isfinite(mean):
                raise MmkitError(f"the loss became {mean} in epoch {epoch}; a lower --lr, or float32, may help")
            score, found = validate()
            history.append({"epoch": epoch, "loss": mean, **found})
            if score > best_score:
                best_epoch, best_score, best_state = epoch, score, snapshot(step)
            progress.update("epochs", epoch, epochs)
            if training.patience is not None and epoch - best_epoch >= training.patience:
                break
    if not best_epoch:
        raise MmkitError(
            f"validation gave no score in any of {len(history)} epochs, so none is best; the metric must be defined on "
            "the validation split"
        )
    step.load_state_dict(best_state)
    return Trained(history, best_epoch, seconds, loading, load.workers)


def _fresh(data: Dataset, shown: Sequence[Tensor], seed: int, epoch: int, number: int) -> dict[str, Batch]:
    """What is transformed anew for a batch of an epoch."""
    return data.fresh(shown[number], augmentation(seed, epoch, number))


def losses(step: TrainingStep, batch: Mapping[str, Given], truth: Batch, precision: Precision) -> Tensor:
    """The sum of all losses."""
    with autocast(truth["mask"].device, precision):
        found = list(step(batch, truth)[0].values())
    return torch.stack(found).sum() if len(found) > 1 else found[0]


def snapshot(step: TrainingStep) -> dict[str, Tensor]:
    """A copy of all weights; of a parameter that is not trained, itself: a frozen backbone may be large."""
    constant = {name for name, p in step.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: t.detach() if name in constant else t.detach().clone() for name, t in step.state_dict().items()}
