"""How a model is trained: the options, the parameter groups, and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval
from torch import nn


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


def parameter_groups(step: nn.Module) -> list[dict[str, Any]]:
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


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """The share of the greatest learning rate at a step: linear warm-up, then a cosine to zero."""
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
