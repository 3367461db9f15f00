"""Optimisation: the options of training, parameter groups, and the learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, MinLen
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Training:
    """The options of training.

    AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, https://arxiv.org/abs/1711.05101.

    Args:
        epochs: maximum number of epochs; raised if `min_steps` needs more.
        min_steps: minimum number of steps; 0 if only the number of epochs is given.
        batch_size: maximum number of samples per step; an epoch is divided into batches of nearly equal size.
        lr: peak learning rate, after a linear warm-up; it decays to zero along a cosine.
        warmup: share of the steps in the warm-up.
        weight_decay: of AdamW.
        clip: maximum norm of the gradient; none is no clipping.
        patience: epochs without a better validation score before training stops; none never stops early.
        copies: number of augmented copies of the training split that a frozen encoder encodes, one used in each epoch;
            0 encodes in every epoch.
        sampler: "shuffle" uses every sample once per epoch; "balanced" samples classes equally, with replacement.
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
        """The number of epochs, and of steps per epoch, for a number of samples."""
        steps = math.ceil(samples / self.batch_size)
        return max(self.epochs, math.ceil(self.min_steps / steps)), steps


@dataclass(frozen=True, kw_only=True)
class Search:
    """The options of the search for a learning rate, which stand beside those of `Training`.

    Args:
        rates: learning rates of which each combination gets the best on validation, where no `lr` is given.
    """

    rates: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (5e-4, 2e-3, 1e-2)


def parameter_groups(step: nn.Module) -> list[dict[str, Any]]:
    """The trained parameters, grouped by `share` of the learning rate: that in `rates` of a module, else 1."""
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
    """The learning rate of a step as a share of the peak: linear warm-up, then a cosine to zero."""
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
