"""The tokens of all inputs, projected to one width, one after the other, as fusions attend to them.

Axes: B batch, T tokens of all inputs, H fused width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import chosen
from mmkit.layers.vectors import there


def joined_tokens(
    features: Mapping[str, Features], project: nn.ModuleDict, names: Iterable[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens [B T H] and their mask [B T].

    Args:
        features: of each input.
        project: a layer for each input, [... D] to [... H].
        names: which inputs, in their order; None is all of `project`.
    """
    names = tuple(project if names is None else names)
    tokens = torch.cat([project[name](features[name].tokens) for name in names], 1)
    return tokens, torch.cat([features[name].mask for name in names], 1)


def first_of_missing(features: Features) -> Tensor:
    """[B T] bool: the first place of rows in which the input is missing, where something may stand in."""
    return ~there(features) & (torch.arange(features.mask.shape[1], device=features.mask.device) == 0)


def mean_of_inputs(parts: Sequence[Tensor], there: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """[B ...]: the mean of the inputs that are there; where none is, `otherwise`, or zero.

    Args:
        parts: [B ...] of each input.
        there: [B M] bool, which inputs are there.
        otherwise: [B ...].
    """
    shape = (-1, *(1,) * (parts[0].ndim - 1))
    total = parts[0] * there[:, 0].view(shape)
    for part, here in zip(parts[1:], there.unbind(1)[1:], strict=True):
        total = total + part * here.view(shape)
    mean = total / there.sum(1).clamp(min=1).view(shape)
    return mean if otherwise is None else chosen(mean, there.any(1).view(shape), otherwise)


def without_choice(looks: str, features: Mapping[str, Features], names: Iterable[str]) -> list[str]:
    """What a user should know where the tokens of input `looks` attend to one token in all: a remark, or none."""
    names = tuple(names)
    if sum(features[name].tokens.shape[1] for name in names) > 1:
        return []
    return [f"attention from {looks} to {names[0]}, which has one token, has no choice, and adds a linear map of it"]


def attention_shares(features: Mapping[str, Features], names: Iterable[str], got: Tensor) -> dict[str, Tensor]:
    """The details `attention.INPUT` [B T] of each input, from what all tokens get, `got` [B T]."""
    names = tuple(names)
    sizes = [features[name].tokens.shape[1] for name in names]
    return {f"attention.{name}": part for name, part in zip(names, got.split(sizes, 1), strict=True)}
