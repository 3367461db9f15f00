"""Training: one loop over tensors, lean, seeded, and repeatable to the bit on one machine's CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from torch import Generator, Tensor, nn

from mmkit.contract import Batch
from mmkit.data.dataset import Dataset, Given
from mmkit.data.loader import Loader
from mmkit.errors import MmkitError
from mmkit.model import Model, TrainingStep

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, https://arxiv.org/abs/1711.05101.

    Args:
        epochs: at most so many passes over the training split; more where `min_steps` asks for it.
        min_steps: at least so many steps, however small the split; 0 where epochs are asked for and this is not.
        batch_size: samples a step, at most: an epoch is shared out evenly, so that no batch is left with a few.
        lr: greatest learning rate; it warms up linearly and falls to zero along a cosine.
        warmup: share of the steps that warm up.
        weight_decay: of AdamW.
        clip: greatest norm of the gradient; none to leave it as it is.
        patience: epochs without a better validation score after which training stops; none to go to the end.
        copies: augmented copies of the training split that a frozen encoder sees, one drawn in every epoch; 0 encodes
            anew in every epoch.
        sampler: "shuffle" shows every sample once an epoch; "balanced" draws classes equally often, with replacement.
    """

    epochs: Annotated[int, Gt(0)] = 40
    min_steps: Annotated[int, Ge(0)] = 300
    batch_size: Annotated[int, Gt(0)] = 32
    lr: Annotated[float, Gt(0)] = 2e-3
    warmup: Annotated[float, Interval(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.05
    clip: Annotated[float, Gt(0)] | None = 1.0
    patience: Annotated[int, Gt(0)] | None = 20
    copies: Annotated[int, Ge(0)] = 0
    sampler: Literal["shuffle", "balanced"] = "shuffle"

    def plan(self, samples: int) -> tuple[int, int]:
        """Epochs, and steps of each, for so many samples."""
        steps = math.ceil(samples / self.batch_size)
        return max(self.epochs, math.ceil(self.min_steps / steps)), steps


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
    report: Callable[[int, int], None] | None = None,
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
        report: called after each epoch with epochs done and planned.
        workers: threads that make augmented batches ahead; None finds out whether they pay, see `Loader`. They change
            no result.

    Raises:
        RefusedError: values that a transform which augments does not take.
        MmkitError: the loss is not finite, or validation finds no score in any epoch.
    """
    device = data.truth["mask"].device
    epochs, steps = training.plan(data.size)
    parameters = [p for p in step.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        grouped(step), lr=training.lr, weight_decay=training.weight_decay, fused=device.type in {"cpu", "cuda"}
    )
    scaler = torch.GradScaler(device.type, enabled=precision == "float16")
    torch.manual_seed(seed)
    order = Generator().manual_seed(seed)
    weights = balanced(data.truth) if training.sampler == "balanced" else None
    history: list[dict[str, Any]] = []
    best_epoch, best_score, best_state = 0, -math.inf, snapshot(step)
    done, seconds, loading = 0, 0.0, 0.0
    with Loader(workers) as load:
        for epoch in range(1, epochs + 1):
            step.train()
            began = time.perf_counter()
            whole = drawn(data.size, weights, order)
            shown = whole.tensor_split(steps)
            # Once an epoch: a copy for each batch would wait for all that the device was asked to do before.
            placed = shown if device.type == "cpu" else whole.to(device).tensor_split(steps)
            # One past the last batch of an epoch: what copies are drawn from is no batch's generator.
            current = data.drawn(augmentation(seed, epoch, steps)) if data.copies else data
            fresh = load(partial(_fresh, data, shown, seed, epoch), steps)
            total = torch.zeros((), device=device)
            for index in placed:
                asked = time.perf_counter()
                # Nothing is seeded where nothing augments: that would cost a percent of a small model's step.
                batch, truth = current.batch(index, fresh=next(fresh) if data.moving else {})
                loading += time.perf_counter() - asked
                for group in optimizer.param_groups:
                    group["lr"] = training.lr * group["share"] * rate(done, epochs * steps, training.warmup)
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
            if report:
                report(epoch, epochs)
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


def grouped(step: nn.Module) -> list[dict[str, Any]]:
    """The parameters that are trained, by their `share` of the learning rate: what modules say in `rates`, else 1."""
    shares: dict[int, float] = {}
    for module in step.modules():
        rates: Mapping[str, float] = getattr(module, "rates", {})
        for name, share in rates.items():
            shares[id(module.get_parameter(name))] = share
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in step.parameters():
        if parameter.requires_grad:
            groups.setdefault(shares.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": parameters, "share": share} for share, parameters in groups.items()]


def losses(step: TrainingStep, batch: Mapping[str, Given], truth: Batch, precision: Precision) -> Tensor:
    """The sum of all losses."""
    with autocast(truth["mask"].device, precision):
        found = list(step(batch, truth)[0].values())
    return torch.stack(found).sum() if len(found) > 1 else found[0]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The precision of a forward."""
    return torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32")


def rate(step: int, steps: int, warmup: float) -> float:
    """The share of the greatest learning rate at a step: linear warm-up, then a cosine to zero."""
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


def augmentation(seed: int, epoch: int, batch: int) -> Generator:
    """What the augmentation of a batch is drawn from: the same whoever makes the batch, and whatever was drawn before.

    Args:
        seed: of the run, 0 or more.
        epoch: from 1.
        batch: its number in the epoch, from 0.
    """
    (state,) = np.random.SeedSequence((seed, epoch, batch)).generate_state(1, np.uint64)
    return Generator().manual_seed(int(state))


def drawn(size: int, weights: Tensor | None, generator: Generator) -> Tensor:
    """Indices of the samples of an epoch, in the order in which they are shown."""
    if weights is None:
        return torch.randperm(size, generator=generator)
    return torch.multinomial(weights, size, replacement=True, generator=generator)


def balanced(truth: Batch) -> Tensor:
    """A weight for each sample, so that classes are drawn equally often; of several labels, the rarest counts.

    Raises:
        MmkitError: the truth has neither classes nor labels.
    """
    if "label" in truth:
        label = truth["label"].cpu()
        return 1.0 / label.bincount()[label].clamp(min=1)
    if "labels" in truth:
        labels = truth["labels"].cpu()  # [B C]
        return (labels / labels.sum(0).clamp(min=1)).amax(1).clamp(min=1.0 / len(labels))
    raise MmkitError("sampler=balanced needs classes or labels; this truth has neither")


def snapshot(step: TrainingStep) -> dict[str, Tensor]:
    """A copy of all weights; of a parameter that is not trained, itself: a frozen backbone may be large."""
    still = {name for name, p in step.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: t.detach() if name in still else t.detach().clone() for name, t in step.state_dict().items()}


@torch.inference_mode()
def predictions(
    model: Model, data: Dataset, precision: Precision = "float32", batch_size: int = 256
) -> list[tuple[Batch, Batch]]:
    """The model's predictions of a split with their truth, batch by batch, on the CPU, floats in float32."""
    model.eval()
    device = data.truth["mask"].device
    found: list[tuple[Batch, Batch]] = []
    for index in data.batches(batch_size):
        batch, truth = data.batch(index)
        with autocast(device, precision):
            output = model(batch).output
        predicted = model.judge.predict(output.float())
        prediction = {n: (leaf.float() if leaf.is_floating_point() else leaf).cpu() for n, leaf in predicted.items()}
        found.append((prediction, {name: leaf.cpu() for name, leaf in truth.items()}))
    return found


@torch.inference_mode()
def losses_of_samples(
    model: Model, data: Dataset, precision: Precision = "float32", batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """The head's loss of each sample of a split [N], zero where truth is missing, and where it is there [N], on CPU."""
    model.eval()
    device = data.truth["mask"].device
    found = []
    for index in data.batches(batch_size):
        batch, truth = data.batch(index)
        with autocast(device, precision):
            found.append(model.judge.loss(model(batch).output, truth).float().cpu())
    return torch.cat(found), data.truth["mask"].cpu()
