"""Gradients of a batch: one backward pass of all losses together, or what a balance method does in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.contract import Batch
from mmkit.data.readings import InputBatch
from mmkit.model.network import TrainingStep
from mmkit.system.precision import Precision, autocast

BACKWARD = "backward"
"""The method of a balance method that takes the place of one backward pass."""


def takes_own_passes(step: TrainingStep) -> bool:
    """Whether a balance method takes the backward passes itself."""
    return step.balance is not None and step.balance.has(BACKWARD)


def turns_of(step: TrainingStep) -> Iterator[int]:
    """Let the turns of a balance method be taken, one after the other; gives how many they are. One where it has none.

    Before each, gradients are those of nothing. After each, when the next is asked for, they have made their step.
    """
    if step.balance is None or not step.balance.turns:
        yield 1
        return
    try:
        for turn in step.balance.turns:
            step.balance.turn = turn
            yield len(step.balance.turns)
    finally:
        step.balance.turn = None


def after_turn(step: TrainingStep) -> None:
    """Tell a balance method that takes turns that one has its gradients."""
    if step.balance is not None and step.balance.turns and step.model.head is not None:
        step.balance.turned(step.model.head)


def add_gradients(
    step: TrainingStep,
    forward: Callable[..., Any],
    batch: Mapping[str, InputBatch],
    truth: Batch,
    precision: Precision,
    *,
    count: Tensor | None = None,
    scaler: torch.GradScaler | None = None,
) -> Tensor:
    """Add the gradients of a batch to those of the parameters; gives the loss.

    Args:
        step: the model with its losses.
        forward: calls it, compiled or not.
        batch: of each input.
        truth: with the place of each sample in the training split, `index` [B].
        precision: of the forward pass.
        count: of a part of a batch, the number of samples with truth in the whole.
        scaler: of the loss, as float16 needs it.
    """
    terms = losses(forward, batch, truth, precision, count)
    values = list(terms.values())
    total = torch.stack(values).sum() if len(values) > 1 else values[0]
    if step.balance is not None and takes_own_passes(step):
        scaled = {name: loss if scaler is None else scaler.scale(loss) for name, loss in terms.items()}
        step.balance.backward(scaled, trained_by_input(step))
    else:
        (total if scaler is None else scaler.scale(total)).backward()
    return total.detach()


def losses(
    forward: Callable[..., Any],
    batch: Mapping[str, InputBatch],
    truth: Batch,
    precision: Precision,
    count: Tensor | None = None,
) -> dict[str, Tensor]:
    """All losses of a batch, by name; of a part of one, `count` is the number of samples with truth in the whole."""
    with autocast(truth["mask"].device, precision):
        found: dict[str, Tensor] = (forward(batch, truth) if count is None else forward(batch, truth, count))[0]
        return found


def trained_by_input(step: TrainingStep) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each encoder, by module name of its input."""
    encoders = step.model.encoders.items()
    return {name: [one for one in module.parameters() if one.requires_grad] for name, module in encoders}
