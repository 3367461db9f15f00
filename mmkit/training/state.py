"""The state of the training loop: all that its steps change, as a checkpoint keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.model.network import TrainingStep
from mmkit.system.ranks import ranks
from mmkit.system.state import generator_states, restore_generators
from mmkit.training.averaging import Best, Checkpoint
from mmkit.training.ema import Ema
from mmkit.training.optimisation import Training, parameter_groups
from mmkit.training.privacy_descent import PrivateDescent


@dataclass
class State:
    """The state of a loop before a step.

    Args:
        step: the model with its losses.
        parameters: that are trained.
        optimizer: of them.
        scaler: of the loss.
        order: generator of the order of samples.
        best: the weights of the best epochs.
        ema: the average of the weights over steps; None if there is none.
        history: one entry per finished epoch.
        epoch: that comes or has begun, from 1.
        number: of its next step, from 0.
        done: steps over all epochs.
        total: the sum of the losses of the epoch so far.
        drawn: the state of `order` before the epoch's order was drawn.
        seconds: of all steps, without validation.
        loading: seconds of them in which the loop waited for batches.
        private: takes the place of the backward pass in a private training; None in others.
    """

    step: TrainingStep
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    scaler: torch.GradScaler
    order: Generator
    best: Best
    ema: Ema | None
    total: Tensor
    drawn: Tensor
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: int = 1
    number: int = 0
    done: int = 0
    seconds: float = 0.0
    loading: float = 0.0
    private: PrivateDescent | None = None

    @staticmethod
    def new(
        step: TrainingStep, options: Training, device: torch.device, seed: int, *, most: int, scaled: bool
    ) -> State:
        """The state before the first step.

        Args:
            step: the model with its losses.
            options: of the training.
            device: of the model.
            seed: of the order of samples.
            most: number of epochs whose weights are kept.
            scaled: whether the loss is scaled, as float16 needs it.
        """
        parameters = [parameter for parameter in step.parameters() if parameter.requires_grad]
        order = Generator().manual_seed(seed)
        return State(
            step,
            parameters,
            torch.optim.AdamW(parameter_groups(step, options), fused=device.type in {"cpu", "cuda"}),
            torch.GradScaler(device.type, enabled=scaled),
            order,
            Best(most),
            None if options.ema is None else Ema(parameters, options.ema),
            torch.zeros((), device=device),
            order.get_state(),
        )

    def next_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch, self.number = self.epoch + 1, 0
        self.total = torch.zeros_like(self.total)
        self.drawn = self.order.get_state()

    def document(self) -> dict[str, Any]:
        """What `restore` needs, as a checkpoint takes it. Tensors are those of the loop, and no copies.

        Of several ranks all call it: the generators of each are in it.
        """
        constant = constant_names(self.step)
        bits, keys, *rest = (states := generator_states(self.total.device))["numpy"]
        return {
            "epoch": self.epoch,
            "number": self.number,
            "done": self.done,
            "weights": {name: tensor for name, tensor in self.step.state_dict().items() if name not in constant},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": None if self.ema is None else [self.ema.steps, self.ema.averages],
            "order": self.drawn,
            "generators": ranks().gathered({**states, "numpy": (bits, keys.tolist(), *rest)}),
            "total": self.total,
            "best": [
                [one.epoch, one.score, {name: tensor for name, tensor in one.state.items() if name not in constant}]
                for one in self.best.checkpoints
            ],
            "history": self.history,
            "seconds": self.seconds,
            "loading": self.loading,
            "private": None if self.private is None else self.private.document(),
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take back what `document` gave, but for the global generators."""
        for name in ("epoch", "number", "done", "history", "seconds", "loading"):
            setattr(self, name, document[name])
        self.step.load_state_dict({**self.step.state_dict(), **document["weights"]})
        self.optimizer.load_state_dict(document["optimizer"])
        self.scaler.load_state_dict(document["scaler"])
        if self.ema is not None:
            steps, averages = document["ema"]
            self.ema.restore(averages, steps)
        self.drawn = document["order"]
        self.order.set_state(self.drawn)
        self.total = document["total"].to(self.total.device)
        if self.private is not None:
            self.private.restore(document["private"])
        constant = snapshot(self.step)
        self.best.checkpoints = [Checkpoint(epoch, score, constant | kept) for epoch, score, kept in document["best"]]

    @staticmethod
    def restore_generators(document: Mapping[str, Any]) -> None:
        """Take back the global generators of this rank, which other code may have used since `restore`."""
        restore_generators(document["generators"][ranks().rank])


def constant_names(step: nn.Module) -> set[str]:
    """The names of the parameters that are not trained."""
    return {name for name, p in step.named_parameters(remove_duplicate=False) if not p.requires_grad}


def snapshot(step: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights. Parameters that are not trained are not copied, because a frozen backbone may be large."""
    constant = constant_names(step)
    return {name: t.detach() if name in constant else t.detach().clone() for name, t in step.state_dict().items()}
