"""Balance in a training step: the heads of single inputs beside the model, and what its method does at the border.

features -> split -> heads of single inputs -> border -> fusion and head -> output -> losses -> weigh

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features, Head, ModelOutput, Split
from mmkit.errors import MmkitError
from mmkit.layers.border import detached, without
from mmkit.plugin import BalanceSpec

OWN = "balance."
"""What the name of the loss of an input's head beside the model begins with."""


class Balancing(nn.Module):
    """A balance method with the heads that it asks for; it acts in training alone.

    Args:
        method: of the kind balance.
        heads: of each input, by module name; empty where the method needs none.
        spec: of the method.
    """

    def __init__(self, method: nn.Module, heads: Mapping[str, nn.Module], spec: BalanceSpec) -> None:
        super().__init__()
        self.method = method
        self.heads = nn.ModuleDict(dict(heads))
        self.measures = spec.unimodal == "measured"
        self.name = spec.name
        self.turns: tuple[tuple[str, ...], ...] = tuple(map(tuple, getattr(method, "turns", ())))
        self.turn: tuple[str, ...] | None = None
        """The inputs that are there in this pass; None are all. The training loop sets it."""
        self.validation = spec.validation

    def taking(self, features: dict[str, Features]) -> dict[str, Features]:
        """The features of the inputs of this turn; others are missing, and learn nothing.

        Raises:
            MmkitError: the method takes turns, and nobody says which one this is.
        """
        if not (self.training and self.turns):
            return features
        if self.turn is None:
            raise MmkitError(
                f"balance {self.name} takes turns, each with a step of the optimiser; only the training loop takes them"
            )
        return {name: part if name in self.turn else _gone(detached(part)) for name, part in features.items()}

    def turned(self, head: nn.Module) -> None:
        """Tell the method that a turn has its gradients."""
        if self.has("turned"):
            cast(Any, self.method).turned(self.turn, head)

    def at_border(
        self, features: Mapping[str, Features], truth: Batch
    ) -> tuple[Mapping[str, Features], dict[str, Tensor]]:
        """The features as the fusion sees them, and the outputs of the heads."""
        seen, own = features, features
        if self.training and self.has("split"):
            seen, own = cast(Any, self.method).split(features)
        if self.measures:
            own = {name: detached(part) for name, part in own.items()}
        outputs = {name: head(own[name]) for name, head in self.heads.items()}
        if self.training and self.has("border"):
            seen = cast(Any, self.method).border(seen, outputs, truth)
        return seen, outputs

    def of_subsets(
        self,
        whole: ModelOutput,
        seen: Mapping[str, Features],
        fuse: Callable[[Mapping[str, Features]], ModelOutput],
        truth: Batch,
    ) -> ModelOutput:
        """What the model gives, its output with the gradient of a method that compares the subsets of inputs.

        Args:
            whole: what it gives of all inputs.
            seen: what the fusion saw of them.
            fuse: what it gives of others.
            truth: of the batch.
        """
        if not (self.training and self.has("output")):
            return whole
        names = sorted(seen)
        subsets = {tuple(names): whole.output}
        for count in range(len(names)):
            for chosen in combinations(names, count):
                shown = {name: part if name in chosen else _gone(part) for name, part in seen.items()}
                subsets[chosen] = fuse(shown).output
        return replace(whole, output=cast(Any, self.method).output(subsets, seen, truth))

    def losses(
        self, outputs: Mapping[str, Tensor], features: Mapping[str, Features], truth: Batch
    ) -> dict[str, Tensor]:
        """[B] of each head, zero where its input is missing."""
        return {
            f"{OWN}{name}": cast(Head, head).loss(outputs[name], truth).masked_fill(~features[name].present(), 0)
            for name, head in self.heads.items()
        }

    def weighed(self, losses: dict[str, Tensor], output: ModelOutput, truth: Batch) -> dict[str, Tensor]:
        """The losses [B], as training minimises them."""
        if self.training and self.turns:
            there = torch.stack([part.present() for part in output.features.values()]).any(0)
            losses = {name: loss.masked_fill(~there, 0) for name, loss in losses.items()}
        if self.training and self.has("weigh"):
            return dict(cast(Any, self.method).weigh(losses, output, truth))
        return losses

    def backward(self, losses: Mapping[str, Tensor], parameters: Mapping[str, list[nn.Parameter]]) -> None:
        """Let the method take the backward passes itself.

        Args:
            losses: the mean of each, by name.
            parameters: the trained ones of each encoder, by module name of its input.
        """
        cast(Any, self.method).backward(losses, parameters)

    def before_epoch(self, number: int, measure: Callable[[Split], Mapping[str, float]]) -> None:
        """Tell the method that an epoch begins, counted from 1."""
        if self.has("epoch"):
            cast(Any, self.method).epoch(number, measure)

    def has(self, name: str) -> bool:
        """Whether the method has one of the optional methods of its kind."""
        return callable(getattr(self.method, name, None))


def _gone(features: Features) -> Features:
    """The features, missing in every row; what their encoder says of them is left out."""
    return replace(without(features, torch.zeros_like(features.mask[:, 0])), penalties={}, details={})
