"""Defects of encoders that each check of gradients, precision, devices and graphs catches."""

import re
from typing import Any

import torch
from torch import nn

from mmkit.testing import checks_of
from tests.testing.sound_encoders import SPEC, Sound, Steps


class Reversed(torch.autograd.Function):
    """What it computes is the identity, and its gradient has the wrong sign."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class WrongBackward(Sound):
    def tokens(self, batch):
        return self.out(Reversed.apply(torch.tanh(self.map(batch["steps"]))))


class RawExponential(Sound):
    def tokens(self, batch):
        weights = self.map(batch["steps"]).exp()
        return self.out(weights / weights.sum(-1, keepdim=True))


class FlipsInTraining(Sound):
    def tokens(self, batch):
        return super().tokens(batch) * (-1 if self.training else 1)


class Tires(Sound):
    calls = 0

    def tokens(self, batch):
        self.calls += 1
        return super().tokens(batch) * (1 if self.calls < 50 else 0.5)


class ZeroInHalf(Sound):
    def tokens(self, batch):
        return super().tokens(batch) * (not torch.is_autocast_enabled("cpu"))


class Unused(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.forgotten = nn.Parameter(torch.ones(3))


class Deaf(Sound):
    def tokens(self, batch):
        return self.out(torch.tanh(self.map(torch.ones_like(batch["steps"]))))


class CastsByHand(Sound):
    def tokens(self, batch):
        tokens = super().tokens(batch)
        return torch.zeros_like(batch["steps"]).repeat(1, 1, 2).index_add(0, torch.arange(len(tokens)), tokens)


class KeepsOnCpu(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.shift = torch.linspace(0, 1, 3)

    def tokens(self, batch):
        return super().tokens({"steps": batch["steps"] + self.shift.to(batch["steps"].dtype)})


class Single(Sound):
    def tokens(self, batch):
        return super().tokens(batch).float()


class Branches(Sound):
    def tokens(self, batch):
        return super().tokens(batch) * (2 if batch["mask"].all() else 3)


class WithoutAny(Sound):
    """Each step looks at those before it, and the first has none: torch gives zero there, ONNX does not."""

    def tokens(self, batch):
        steps = super().tokens(batch).unsqueeze(1)  # [B 1 T D], of one head
        earlier = torch.ones(2 * steps.shape[2:3], dtype=torch.bool).tril(-1) & batch["mask"][:, None, None]
        return (steps + nn.functional.scaled_dot_product_attention(steps, steps, steps, earlier)).squeeze(1)


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "gradients": [(Unused, "forgotten")],
    "influence": [(Deaf, "the sample")],
    "one-device": [(KeepsOnCpu, "two different devices")],
    "autocast": [(CastsByHand, "raised RuntimeError"), (ZeroInHalf, "bf16: features.tokens is off")],
    "derivative": [(WrongBackward, "a direction of the parameters")],
    "large-numbers": [(RawExponential, "inputs times 100, in evaluation")],
    "one-sign": [(FlipsInTraining, "opposite to that of evaluation")],
    "lasting": [(Tires, "after 100 calls")],
    "float64": [(Single, "torch.float32")],
    "compiles": [(Branches, "raised")],
    "exports": [(Branches, "raised")],
    "onnx": [(WithoutAny, "in onnxruntime, where nothing is missing: features.tokens is off")],
}
HEAVY = {c.name for c in checks_of("encoder", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("encoder", component, spec=SPEC, modality=Steps, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
