"""Balance methods under check, in a step of training made of what needs no weights.

Axes: B batch, D width of an input, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Batch, Features, ModelOutput
from mmkit.errors import ContractError
from mmkit.layers.border import detached, without
from mmkit.plugin import BalanceSpec, ObjectiveSpec
from mmkit.testing.specimens.module import Absent
from mmkit.testing.specimens.objective import SIZE, ObjectiveSpecimen
from mmkit.testing.trees import leaves

METHODS = ("split", "border", "output", "weigh", "backward", "epoch")
INNER = 5
"""The width of what a fusion within encoders takes along."""
EPOCHS = 30
"""Those that a method has seen when it is checked: it is in the middle of a training."""


class BalanceSpecimen(ObjectiveSpecimen):
    """A balance method beside one kind of target.

    Args:
        component: the class.
        options: those of its constructor.
        of: its spec.
        target: the kind of target.
        count: of inputs.
    """

    def __init__(
        self, component: type, options: Mapping[str, Any], of: BalanceSpec, target: str, count: int | None = None
    ) -> None:
        self.of = of
        counted = ObjectiveSpec(of.name, "", "", min_inputs=of.min_inputs)
        few = of.max_inputs if count is None and (of.max_inputs or 3) < 3 else count
        super().__init__(component, options, counted, target, few)

    def of_inputs(self, count: int) -> BalanceSpecimen:
        """The same with another number of inputs."""
        return BalanceSpecimen(self.component, self.options, self.of, self.target, count)

    def draw(
        self, count: int, *, seed: int = 0, absent: Absent | None = None, ragged: bool = True, long: bool = False
    ) -> tuple[Any, ...]:
        """All that a model gives, with what a fusion within encoders takes along, and the truth."""
        found, truth = super().draw(count, seed=seed, absent=absent, ragged=ragged, long=long)
        generator = Generator().manual_seed(seed + 1)
        features = {
            name: replace(part, inner={"place": _masked(torch.randn(count, INNER, generator=generator), part)})
            for name, part in found.features.items()
        }
        return (replace(found, features=features), truth)

    def build(self, seed: int = 0) -> nn.Module:
        """A new one, after some epochs."""
        module = super().build(seed)
        self.train_on(module)
        return module

    def train_on(self, module: nn.Module) -> None:
        """Some epochs of one batch each, with losses that fall, on validation less than on train."""
        asked = 0

        def measure(split: str) -> dict[str, float]:
            nonlocal asked
            if split != "train" and not (split == "validation" and self.of.validation):
                raise ContractError(
                    f"it measures on {split!r}; it may on 'train', and on 'validation' where its spec says so"
                )
            asked += 1
            slower = 1.0 if split == "train" else 0.6
            names = ["head", *(f"balance.{name}" for name in (self.names if self.of.unimodal else ()))]
            return {name: 2 - slower * (1 - 1 / (1 + asked)) / (1 + place) for place, name in enumerate(names)}

        module.train()
        epoch = getattr(module, "epoch", None)
        with torch.random.fork_rng(), torch.no_grad():
            for number in range(1, EPOCHS + 1):
                if callable(epoch):
                    epoch(number, measure)
                self.call(module, self.draw(6, seed=number))

    def differentiate(
        self, inputs: tuple[Any, ...], module: nn.Module | None = None
    ) -> tuple[dict[str, Any], dict[str, Tensor | None]]:
        """As for every module; where the method takes the backward passes, features stand for weights of encoders."""
        module = self.module if module is None else module
        if not callable(backward := getattr(module, "backward", None)):
            return super().differentiate(inputs, module)
        module.train()
        module.zero_grad()
        inputs = self.differentiable(inputs)
        outputs = self.call(module, inputs)
        features = inputs[0].features
        parameters = {
            name: [tensor for _, tensor in leaves(part) if tensor.requires_grad] for name, part in features.items()
        }
        backward({name: loss.sum() for name, loss in outputs["losses"].items()}, parameters)
        found = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
        return outputs, found | {f"input {place}": leaf.grad for place, leaf in leaves(inputs) if leaf.requires_grad}

    def evaluate(self, inputs: tuple[Any, ...], module: nn.Module | None = None) -> dict[str, Any]:
        """As for every module; what it draws, as it may in training alone, it draws the same each time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return super().evaluate(inputs, module)

    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """What the fusion sees, all losses, and their sum [B]; where the method takes turns, over all of them."""
        turns: Sequence[Sequence[str]] = getattr(module, "turns", ())
        if not (turns and module.training):
            return self._pass(module, inputs)
        found, truth = inputs
        passes = []
        for turn in turns:
            shown = {name: part if name in turn else _gone(part) for name, part in found.features.items()}
            passes.append(self._pass(module, (replace(found, features=shown), truth)))
            self.end_turn(module, turn, found.fused)
        losses = {name: torch.stack([one["losses"][name] for one in passes]).sum(0) for name in passes[0]["losses"]}
        loss = torch.stack(list(losses.values())).sum(0)
        return passes[-1] | {"seen": dict(found.features), "losses": losses, "loss": loss}

    def end_turn(self, module: nn.Module, turn: Sequence[str], like: Features) -> Tensor:
        """Let the method change the gradient of a head, which was all ones; gives it."""
        head = nn.Linear(like.width, SIZE, device=like.tokens.device, dtype=like.tokens.dtype)
        for parameter in head.parameters():
            parameter.grad = torch.ones_like(parameter)
        if callable(turned := getattr(module, "turned", None)):
            turned(tuple(turn), head)
        gradient = head.weight.grad
        if gradient is None or gradient.shape != head.weight.shape:
            raise ContractError("`turned` leaves the head without a gradient of its shape")
        return gradient

    def _pass(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        found, truth = inputs
        seen: Mapping[str, Features] = found.features
        own = seen
        if callable(split := getattr(module, "split", None)):
            seen, own = split(found.features)
        if self.of.unimodal == "measured":
            own = {name: detached(part) for name, part in own.items()}
        unimodal = {name: _read(own[name]) for name in self.names} if self.of.unimodal else {}
        if callable(border := getattr(module, "border", None)):
            seen = border(seen, unimodal, truth)
        output = whole = torch.stack([_fused(seen[name]) for name in self.names]).sum(0)
        if callable(changed := getattr(module, "output", None)):
            output = changed(self._subsets(seen, whole), seen, truth)
            if not isinstance(output, Tensor) or output.shape != whole.shape:
                shape = list(getattr(output, "shape", ()))
                raise ContractError(f"the output of all inputs is {list(whole.shape)}; it gives {shape}")
        losses = {"head": _loss(output, truth)}
        for name, one in unimodal.items():
            losses[f"balance.{name}"] = _loss(one, truth).masked_fill(~found.features[name].present(), 0)
        if callable(weigh := getattr(module, "weigh", None)):
            losses = weigh(losses, ModelOutput(found.features, found.fused, output, {}), truth)
        found_losses = {"losses": dict(losses), "loss": torch.stack(list(losses.values())).sum(0)}
        return {"seen": dict(seen), "whole": whole, "output": output, **found_losses}

    def _subsets(self, seen: Mapping[str, Features], whole: Tensor) -> dict[tuple[str, ...], Tensor]:
        """What is given where the fusion sees a few of the inputs: the sum of what is read of each."""
        read = {name: _fused(seen[name]) for name in sorted(self.names)}
        found = {tuple(read): whole}
        for count in range(len(read)):
            for chosen in combinations(read, count):
                found[chosen] = sum((read[name] for name in chosen), start=torch.zeros_like(whole))
        return found


def _gone(features: Features) -> Features:
    return without(detached(features), torch.zeros_like(features.mask[:, 0]))


def _masked(state: Tensor, features: Features) -> Tensor:
    return state.masked_fill(~features.present().unsqueeze(1), 0)


def _read(features: Features) -> Tensor:
    """[B C], what a head makes of an input, of fixed numbers."""
    return _weighted(features.vector())


def _fused(features: Features) -> Tensor:
    """[B C], what the fusion makes of an input: it also reads what it took within the encoder."""
    return sum((_weighted(state) for state in features.inner.values()), start=_read(features))


def _weighted(vector: Tensor) -> Tensor:
    weights = torch.arange(vector.shape[1] * SIZE, device=vector.device, dtype=vector.dtype).sin()
    return vector @ weights.view(-1, SIZE)


def _loss(output: Tensor, truth: Batch) -> Tensor:
    return (output - 1).square().mean(1).masked_fill(~truth["mask"], 0)
