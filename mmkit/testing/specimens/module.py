"""What all modules under check have in common: they are built, fed, and asked for a number to differentiate.

Axes: B batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.testing.trees import copied, leaves

Absent = Mapping[str, Collection[int]]
"""Rows in which an input is missing, by input."""

NOISE = 0.05
"""Of the perturbation: a gate that starts at zero gives what stands behind it no gradient."""


class ModuleSpecimen(ABC):
    """A module in one situation: so many inputs, or one kind of target.

    Args:
        component: the class.
        options: those of its constructor.
        label: the situation, for messages; empty where there is only one.
        names: of what can be missing.
    """

    def __init__(self, component: type, options: Mapping[str, Any], label: str, names: Sequence[str]) -> None:
        self.component = component
        self.options = dict(options)
        self.label = label
        self.names = tuple(names)

    @abstractmethod
    def given(self) -> tuple[Any, ...]:
        """The positional parameters of the constructor."""

    @abstractmethod
    def draw(
        self, count: int, *, seed: int = 0, absent: Absent | None = None, ragged: bool = True, long: bool = False
    ) -> tuple[Any, ...]:
        """Random inputs of `count` samples; of equal shapes for every seed where `ragged` is False.

        With `long` they have many tokens; an encoder's examples are as long as they come.
        """

    @abstractmethod
    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """All that the component gives, by name."""

    def captured(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """What must be one graph: all that the component gives, where nothing else is said."""
        return self.call(module, inputs)

    def differentiable(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """A copy of the inputs, asking for a gradient where training asks for one."""
        return copied(inputs)

    def independent(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those outputs in which a sample may not see its mates."""
        return dict(outputs)

    def unpadded(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those outputs whose shape padding does not change; of features, the real tokens are compared."""
        return dict(outputs)

    def score(self, outputs: Mapping[str, Any]) -> Tensor:
        """A number to differentiate: every output counts with a random weight, penalties with their own."""
        total = torch.zeros(())
        generator = Generator().manual_seed(1)
        for path, tensor in leaves(outputs):
            if tensor.is_floating_point() and tensor.requires_grad:
                weight = torch.randn(tensor.shape, generator=generator)
                total = total + (tensor if "penalties" in path else tensor * weight.to(tensor.dtype)).sum()
        return total

    def build(self, seed: int = 0) -> nn.Module:
        """A new one, as the core builds it."""
        torch.manual_seed(seed)
        return self.component(*self.given(), **self.options)

    def fresh(self) -> nn.Module:
        """A new one whose parameters have left their special starting points."""
        return deepcopy(self._perturbed)

    @cached_property
    def module(self) -> nn.Module:
        """One that checks share; they set its mode themselves."""
        return self.fresh()

    @cached_property
    def _perturbed(self) -> nn.Module:
        module = self.build()
        if not isinstance(module, nn.Module):
            raise ContractError(f"a component is an nn.Module; this one is a {type(module).__name__}")
        return perturbed(module)

    def evaluate(self, inputs: tuple[Any, ...], module: nn.Module | None = None) -> dict[str, Any]:
        """What the component gives in evaluation."""
        module = self.module if module is None else module
        module.eval()
        with torch.no_grad():
            return self.call(module, inputs)

    def differentiate(
        self, inputs: tuple[Any, ...], module: nn.Module | None = None
    ) -> tuple[dict[str, Any], dict[str, Tensor | None]]:
        """What the component gives in training; and the gradients of its parameters, and of its inputs by place.

        A gradient is None where nothing arrives. Inputs are named "input 0.image.tokens".
        """
        module = self.module if module is None else module
        module.train()
        inputs = self.differentiable(inputs)
        outputs = self.call(module, inputs)
        wanted: dict[str, Tensor] = {name: p for name, p in module.named_parameters() if p.requires_grad}
        wanted |= {f"input {place}": leaf for place, leaf in leaves(inputs) if leaf.requires_grad}
        score = self.score(outputs)
        if not score.requires_grad:
            return outputs, dict.fromkeys(wanted)
        found = torch.autograd.grad(score, list(wanted.values()), allow_unused=True)
        return outputs, dict(zip(wanted, found, strict=True))

    def all_absent(self, row: int) -> Absent:
        """One row in which everything is missing."""
        return dict.fromkeys(self.names, (row,))


def perturbed(module: nn.Module) -> nn.Module:
    """The module itself, small noise added to what it trains; a padding row of an embedding stays what it is."""
    generator = Generator().manual_seed(2)
    kept = [
        (layer, layer.weight[layer.padding_idx].detach().clone())
        for layer in module.modules()
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.padding_idx is not None
    ]
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
                parameter.add_(noise, alpha=NOISE)
        for layer, row in kept:
            layer.weight[layer.padding_idx] = row
    return module


def random_features(
    generator: Generator,
    shape: tuple[int, int, int],
    *,
    absent: Collection[int] = (),
    ragged: bool = True,
    pooled: bool = False,
) -> Features:
    """Random features [B T D]; with `ragged`, rows have from two (or one, where T is 1) to T real tokens.

    They stand anywhere in a row: a mask may have holes, as that of a table's columns has where cells are empty.
    """
    count, tokens, width = shape
    values = torch.randn(shape, generator=generator)
    mask = torch.ones(count, tokens, dtype=torch.bool)
    if ragged:
        lengths = torch.randint(min(2, tokens), tokens + 1, (count, 1), generator=generator)
        mask = torch.rand(count, tokens, generator=generator).argsort(1).argsort(1) < lengths
    mask[list(absent)] = False
    return Features.of(values, mask, torch.randn(count, width, generator=generator) if pooled else None)


def longer(features: Features, by: int) -> Features:
    """The same features with `by` more tokens of padding."""
    padding = features.tokens.new_zeros(features.tokens.shape[0], by, features.tokens.shape[2])
    mask = torch.cat([features.mask, features.mask.new_zeros(len(padding), by)], 1)
    return replace(features, tokens=torch.cat([features.tokens, padding], 1), mask=mask, complete=False)
