"""Gradients that are a part of the whole are found in encoders and heads, too."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features, Target
from mmkit.modalities.series import Series
from mmkit.plugin import EncoderSpec, HeadSpec
from mmkit.testing import Examination, checks_of
from mmkit.transforms.series import SeriesTransform
from mmkit.transforms.truth import Categories


class Encoder(nn.Module):
    """A map of each step."""

    reads = SeriesTransform

    def __init__(self, transform: SeriesTransform) -> None:
        super().__init__()
        self.width = 8
        self.map = nn.Linear(transform.channels, 8)
        self.out = nn.Linear(8, 8)

    def between(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def forward(self, batch: Batch) -> Features:
        return Features.of(self.out(self.between(self.map(batch["steps"]))), batch["mask"])


class HalfDetached(Encoder):
    def between(self, x: Tensor) -> Tensor:
        return torch.cat([torch.tanh(x[..., :4]).detach(), torch.tanh(x[..., 4:])], -1)


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is half of it."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return gradient / 2


class HalfGradient(Encoder):
    def between(self, x: Tensor) -> Tensor:
        return torch.tanh(Scaled.apply(x))


class Head(nn.Module):
    """A linear head of classes."""

    reads = Categories

    def __init__(self, width: int, target: Target, transform: Categories) -> None:
        super().__init__()
        del transform
        self.out = nn.Linear(width, target.size)

    def vector(self, features: Features) -> Tensor:
        return features.vector()

    def forward(self, features: Features) -> Tensor:
        return self.out(self.vector(features))

    def loss(self, output: Tensor, truth: Batch) -> Tensor:
        found = F.cross_entropy(output, truth["label"].clamp(min=0), reduction="none")
        return found.masked_fill(~truth["mask"], 0)

    def predict(self, output: Tensor) -> Batch:
        return {"probabilities": output.softmax(1)}


class MostlyDetached(Head):
    def vector(self, features: Features) -> Tensor:
        x = features.vector()
        return torch.cat([x[:, :3], x[:, 3:].detach()], 1)


class HalfOfTheWeight(Head):
    def forward(self, features: Features) -> Tensor:
        weight = torch.cat([self.out.weight[:, :6], self.out.weight[:, 6:].detach()], 1)
        return F.linear(features.vector(), weight, self.out.bias)


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Encoder, None),
        (HalfDetached, "a direction of the parameters"),
        (HalfGradient, "a direction of the parameters"),
        (Head, None),
        (MostlyDetached, "a direction of input 0.tokens"),
        (HalfOfTheWeight, "a direction of the parameters"),
    ],
)
def test_a_gradient_that_is_not_the_whole(component: type, message: str | None) -> None:
    if issubclass(component, Encoder):
        spec = EncoderSpec("e", "", "", modality="series")
        examination = Examination("encoder", component, spec=spec, modality=Series)
    else:
        examination = Examination("head", component, spec=HeadSpec("h", "", "", targets=("classes",)))
    (check,) = (c for c in checks_of(examination.kind) if c.name == "derivative")
    result = examination.result(check)
    assert result.status == ("passed" if message is None else "failed"), result
    assert message is None or re.search(message, result.message), result.message
