"""Defects of heads that each check of losses, predictions, gradients, precision, devices and graphs catches."""

import re
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mmkit.testing import checks_of
from tests.testing.sound_heads import SPEC, Sound, Words, reading


class Opposite(Sound):
    """The sign of the loss is wrong: it is a reward."""

    def loss(self, output, truth):
        return -super().loss(output, truth)


class OppositePrediction(Sound):
    def predict(self, output):
        return {"probabilities": (-output).softmax(1)}


class RewardInTraining(Sound):
    def loss(self, output, truth):
        loss = super().loss(output, truth)
        return -loss if self.training else loss


class NoNumber(Sound):
    """Of batches of six, so that it is a number where shapes are checked."""

    def loss(self, output, truth):
        return super().loss(output, truth) * (torch.nan if len(output) == 6 else 1)


class TimesBatch(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth) * len(output)


class ReadsUnknown(Sound):
    """The loss of what is known depends on the placeholders of what is not."""

    def loss(self, output, truth):
        return super().loss(output, truth) * (1 + truth["label"].float().mean())


class OtherOrder(Words):
    """Its inverse names the classes in another order than its labels do."""

    def inverse(self, prediction):
        return [{"label": self.names[-1 - i]} for i in prediction["probabilities"].argmax(1)]


class PlainNames(Words):
    def inverse(self, prediction):
        return [answer["label"] for answer in super().inverse(prediction)]


class Reversed(torch.autograd.Function):
    """What it computes is the identity, and its gradient has the wrong sign."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return -gradient


class WrongBackward(Sound):
    def forward(self, features):
        return Reversed.apply(super().forward(features))


class RawExponential(Sound):
    def predict(self, output):
        weights = (4 * output).exp()
        return {"probabilities": weights / weights.sum(1, keepdim=True)}


class FlipsInTraining(Sound):
    def forward(self, features):
        return super().forward(features) * (-1 if self.training else 1)


class Tires(Sound):
    calls = 0

    def forward(self, features):
        self.calls += 1
        return super().forward(features) * (1 if self.calls < 50 else 0.5)


class ZeroInHalf(Sound):
    def forward(self, features):
        return super().forward(features) * (not torch.is_autocast_enabled("cpu"))


class Unused(Sound):
    def __init__(self, width, target, transform):
        super().__init__(width, target, transform)
        self.forgotten = nn.Parameter(torch.ones(3))


class Deaf(Sound):
    def vector(self, features):
        return torch.ones_like(super().vector(features))


class Detached(Sound):
    def vector(self, features):
        return super().vector(features).detach()


class CastsByHand(Sound):
    def forward(self, features):
        output = super().forward(features)
        empty = torch.zeros_like(features.vector()[:, : output.shape[1]])
        return empty.index_add(0, torch.arange(len(output)), output)


class Single(Sound):
    def predict(self, output):
        return {"probabilities": output.float().softmax(1)}


class CountsUnknown(Sound):
    def loss(self, output, truth):
        return F.cross_entropy(output, truth["label"], reduction="none")


class DividesByKnown(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth) / truth["mask"].sum()


class Logits(Sound):
    def predict(self, output):
        return {"probabilities": output}


class Sigmoids(Sound):
    def predict(self, output):
        return {"probabilities": output.sigmoid()}


class OtherLeaf(Sound):
    def predict(self, output):
        return {"logits": output, **({"probabilities": output.softmax(1)} if self.training else {})}


class OneForAll(Words):
    def inverse(self, prediction):
        return super().inverse(prediction)[0]


class ShortColumn(Words):
    def columns(self, prediction):
        return {"label": [answer["label"] for answer in self.inverse(prediction)[1:]]}


class OtherColumn(Words):
    """The column names the classes in another order than the inverse."""

    def columns(self, prediction):
        return {"label": [self.names[-1 - i] for i in prediction["probabilities"].argmax(1)]}


class MakesOnCpu(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth) * torch.ones(len(output), dtype=output.dtype)


class Branches(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth) * (2 if truth["mask"].all() else 3)


class WithoutAny(Sound):
    """Attention to the tokens that leaves rows without any to the backend: torch gives zero there, ONNX does not."""

    def vector(self, features):
        query, tokens = super().vector(features)[:, None, None], features.tokens.unsqueeze(1)  # [B 1 T D], of one head
        found = F.scaled_dot_product_attention(query, tokens, 1 + tokens, features.mask[:, None, None])
        return found.squeeze((1, 2))


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "gradients": [(Unused, "forgotten")],
    "influence": [(Deaf, "input features")],
    "reach": [(Detached, "no gradient reaches input features")],
    "one-device": [(MakesOnCpu, "two different devices")],
    "autocast": [(CastsByHand, "raised RuntimeError"), (ZeroInHalf, "bf16: output is off")],
    "derivative": [(WrongBackward, "the gradient says")],
    "large-numbers": [(RawExponential, "inputs times 100, in evaluation")],
    "one-sign": [(FlipsInTraining, "opposite to that of evaluation")],
    "lasting": [(Tires, "after 100 calls")],
    "float64": [(Single, "prediction.probabilities is torch.float32")],
    "loss": [(CountsUnknown, "have no truth"), (DividesByKnown, "NaN or infinite")],
    "prediction": [
        (Logits, "between 0 and 1"),
        (Sigmoids, "sum to one"),
        (OtherLeaf, "has the leaf probabilities"),
        (reading(OneForAll), "list of 4 values"),
        (reading(ShortColumn), "as many values; label has 3"),
        (reading(OtherColumn), "the column label says"),
    ],
    "learns-the-truth": [
        (Opposite, "where the truth is 'ash'"),
        (OppositePrediction, "its loss went from"),
        (reading(OtherOrder), "says {'label'"),
        (reading(PlainNames), "is a mapping with label"),
    ],
    "not-negative": [
        (Opposite, "in evaluation it gives -"),
        (RewardInTraining, "in training it gives -"),
        (NoNumber, "gives nan"),
    ],
    "size-of-loss": [(TimesBatch, "in one of 128")],
    "unknown-truth": [(ReadsUnknown, "another placeholder")],
    "compiles": [(Branches, "raised")],
    "exports": [(Branches, "raised")],
    "onnx": [(WithoutAny, "in onnxruntime, where features is missing in every row: .*output is off")],
}
HEAVY = {c.name for c in checks_of("head", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("head", component, spec=SPEC, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
    if name != "options":
        assert result.message.startswith("target classes: ")
