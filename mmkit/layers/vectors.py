"""The vectors of all inputs together, as fusions read them, in few operations.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.chosen import masked

Inputs = Mapping[str, Features]


def joined(features: Inputs, names: Iterable[str]) -> Tensor:
    """[B D+D+...]: the vectors one after the other, zero where an input is missing."""
    parts = [features[name] for name in names]
    if len(parts) == 1:
        return parts[0].vector()  # a join of one would be a copy
    for part in parts:
        if part.pooled is not None or part.tokens.shape[1] != 1:
            return torch.cat([part.vector() for part in parts], 1)
    return torch.cat([part.tokens for part in parts], 2).squeeze(1)  # one view for all of them


def complete(features: Inputs, names: Iterable[str]) -> bool:
    """Whether it is known, without looking at values, that no input is missing; so a branch on it may be taken."""
    for name in names:  # noqa: SIM110 (dynamo traces a loop, and no generator)
        if not features[name].complete:
            return False
    return True


def present(features: Inputs, names: Iterable[str]) -> Tensor:
    """[B M] bool: which inputs are there."""
    return torch.cat([there(features[name]) for name in names], 1)


def there(features: Features) -> Tensor:
    """[B 1] bool: where the input is there."""
    mask = features.mask
    return mask if mask.shape[1] == 1 else mask.any(1, keepdim=True)


def projected(features: Inputs, project: nn.ModuleDict, neutral: float) -> list[Tensor]:
    """[B H] each: a linear layer for each input, and `neutral` where it is missing.

    The vector of a missing input is zero, so only the bias has to be replaced: that costs less than replacing the
    output, forward and backward.
    """
    found = []
    for name in project:
        linear, of_input = cast(nn.Linear, project[name]), features[name]
        if of_input.complete:
            found.append(linear(of_input.vector()))
        else:
            bias = masked(linear.bias, there(of_input), neutral)  # [B H]
            found.append(torch.addmm(bias, of_input.vector(), linear.weight.t()))
    return found


def outer(left: Tensor, right: Tensor) -> Tensor:
    """[B N*K] of [B N] and [B K]: every number of one times every number of the other."""
    return (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)


def weighed(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """[B H]: the sum of values, [B H] each, times their weights, [B H] or [B 1].

    One multiply-add an input, where a product of stacks and its sum would go over all of them twice.
    """
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = torch.addcmul(total, value, weight)
    return total


def one_token(values: Tensor, features: Inputs, names: Iterable[str]) -> Features:
    """Fused features of [B H], of which every row is there."""
    for name in names:
        mask = features[name].mask
        if features[name].complete and mask.shape[1] == 1:  # all True: a new mask would cost as much as a small sum
            return Features(values.unsqueeze(1), mask, complete=True)
    mask = torch.ones(values.shape[0], 1, dtype=torch.bool, device=values.device)
    return Features(values.unsqueeze(1), mask, complete=True)


class Projections(nn.Module):
    """A linear layer for each input, the results added: one matrix product over the joined vectors.

    A missing input adds neither its columns of the weight, since its vector is zero, nor its bias.

    Args:
        widths: D of each input, by name.
        width: H.
    """

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__()
        apart = [nn.Linear(d, width) for d in widths.values()]
        self.inputs = tuple(widths)
        self.widths = tuple(widths.values())
        self.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in apart], 1))  # [H D+D+...]
        self.bias = nn.Parameter(torch.stack([linear.bias.detach() for linear in apart]))  # [M H]

    def forward(self, features: Inputs) -> tuple[Tensor, Tensor | None]:
        """[B H], the sum over the inputs that are there; and which are, [B M] of 0 and 1, None where all are known."""
        vectors = joined(features, self.inputs)
        if complete(features, self.inputs):
            return F.linear(vectors, self.weight, self.bias.sum(0)), None
        there = present(features, self.inputs).to(vectors.dtype)
        return torch.addmm(there @ self.bias, vectors, self.weight.t()), there

    def of(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight [H D] and bias [H] of one input."""
        place = self.inputs.index(name)
        return self.weight.split(self.widths, 1)[place], self.bias[place]
