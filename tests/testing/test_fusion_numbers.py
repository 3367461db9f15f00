"""Defects of fusions that each check of gradients, precision, devices and graphs catches."""

import re
from typing import Any

import torch
from torch import nn

from mmkit.contract import Features
from mmkit.testing import checks_of
from tests.testing.sound_fusions import SPECS, Scorer, Sound


class Reversed(torch.autograd.Function):
    """What it computes is the identity, and its gradient has the wrong sign."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class WrongBackward(Sound):
    def total(self, features):
        return Reversed.apply(super().total(features))


class MostlyDetached(Sound):
    """Three quarters of an input are detached."""

    def vector(self, features, name):
        vector = features[name].vector()
        kept = vector.shape[1] // 4
        return torch.cat([vector[:, :kept], vector[:, kept:].detach()], 1)


class RawExponential(Sound):
    """A softmax by hand."""

    def total(self, features):
        weights = super().total(features).exp()
        return weights / (1 + weights.sum(1, keepdim=True))


class GreatNegative(Scorer):
    """-1e9 is beyond float16."""

    def forward(self, features):
        fused = super().forward(features)
        score = self.score(fused.tokens).squeeze(-1).masked_fill(~fused.mask, -1e9)
        weights = torch.where(fused.mask, score.softmax(1), 0).unsqueeze(-1)
        return Features.of(fused.tokens, fused.mask, (weights * fused.tokens).sum(1))


class ZeroInHalf(Sound):
    """Under autocast its output is zero."""

    def fused(self, features):
        return super().fused(features) * (not torch.is_autocast_enabled("cpu"))


class FlipsInTraining(Sound):
    def fused(self, features):
        return super().fused(features) * (-1 if self.training else 1)


class Tires(Sound):
    """After fifty calls it gives less."""

    calls = 0

    def fused(self, features):
        self.calls += 1
        return super().fused(features) * (1 if self.calls < 50 else 0.5)


class Unused(Sound):
    def __init__(self, widths):
        super().__init__(widths)
        self.forgotten = nn.Linear(4, 4)


class Deaf(Sound):
    def vector(self, features, name):
        return features[name].vector() * (name != "b")


class Detached(Sound):
    def vector(self, features, name):
        return features[name].vector().detach()


class CastsByHand(Sound):
    def fused(self, features):
        fused = super().fused(features)
        place = torch.arange(len(fused))
        return torch.zeros_like(features["a"].vector()[:, :1].expand(-1, 16)).index_add(0, place, fused)


class MakesOnCpu(Sound):
    """What it makes is on the CPU, wherever its inputs are."""

    def fused(self, features):
        fused = super().fused(features)
        return fused + torch.ones(fused.shape, dtype=fused.dtype)


class KeepsOnCpu(Sound):
    """A tensor that is no buffer stays where it was made."""

    def __init__(self, widths):
        super().__init__(widths)
        self.scale = torch.linspace(1, 2, 16)

    def fused(self, features):
        fused = super().fused(features)
        return fused * self.scale.to(fused.dtype)


class AnswersOnCpu(Sound):
    def fused(self, features):
        return super().fused(features).cpu()


class Single(Sound):
    def fused(self, features):
        return super().fused(features).float()


class Branches(Sound):
    def total(self, features):
        total = super().total(features)
        return total * 2 if features["a"].mask.all() else total * 3


class WithoutAny(Sound):
    """Cross-attention that leaves rows without keys to the backend: torch gives zero there, ONNX does not."""

    def total(self, features):
        query = torch.stack([self.maps[name](features[name].vector()) for name in self.maps], 1).unsqueeze(1)
        found = []
        for name in self.maps:
            keys = self.maps[name](features[name].tokens).unsqueeze(1)  # [B 1 T H], of one head
            mask = features[name].mask[:, None, None]
            found.append(nn.functional.scaled_dot_product_attention(query, keys, keys, mask))
        return sum(found).sum((1, 2))


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "gradients": [(Unused, "2 of 10 parameters get no gradient.*forgotten.bias, forgotten.weight")],
    "influence": [(Deaf, "when input b does")],
    "reach": [(Detached, "no gradient reaches input a")],
    "one-device": [
        (MakesOnCpu, "two different devices"),
        (KeepsOnCpu, "two different devices"),
        (AnswersOnCpu, "fused.tokens is on the cpu"),
    ],
    "autocast": [
        (CastsByHand, "raised RuntimeError"),
        (GreatNegative, "without overflow"),
        (ZeroInHalf, "bf16: fused.tokens is off"),
    ],
    "derivative": [
        (WrongBackward, "a direction of .*the gradient says"),
        (MostlyDetached, "a direction of input 0.a.tokens"),
    ],
    "large-numbers": [(RawExponential, "inputs times 100, in evaluation")],
    "one-sign": [(FlipsInTraining, "opposite to that of evaluation")],
    "lasting": [(Tires, "after 100 calls")],
    "float64": [(Single, "torch.float32")],
    "compiles": [(Branches, "raised")],
    "exports": [(Branches, "raised")],
    "onnx": [(WithoutAny, "in onnxruntime, where a is missing in every row: fused.tokens is off")],
}
HEAVY = {c.name for c in checks_of("fusion", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("fusion", component, spec=SPECS.get(component), names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
