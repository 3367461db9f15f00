"""Each check of heads catches the defect planted for it, and forbids no sound head."""

import re
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Target
from mmkit.plugin import HeadSpec
from mmkit.testing import checks_of
from mmkit.transforms.truth import Numbers
from tests.testing.test_surroundings import HERE


class Words:
    """Classes by their place in the alphabet."""

    augments = False

    def __init__(self, kind):
        self.kind = kind
        self.names = ()

    def fit(self, values):
        self.names = tuple(sorted({v for v in values if v is not None}))

    def __call__(self, values, generator=None):
        label = torch.tensor([0 if v is None else self.names.index(v) for v in values])
        return {"label": label, "mask": torch.tensor([v is not None for v in values])}

    def state(self):
        return {"names": list(self.names)}

    def restore(self, state):
        self.names = tuple(state["names"])

    def target(self):
        return Target("classes", len(self.names), self.names)

    def inverse(self, prediction):
        return [{"label": self.names[i]} for i in prediction["probabilities"].argmax(1)]


class Sound(nn.Module):
    """A linear layer and cross-entropy.

    Args:
        smoothing: of labels.
    """

    reads = Words

    def __init__(self, width, target, transform, *, smoothing: float = 0.1):
        super().__init__()
        self.smoothing = smoothing
        self.linear = nn.Linear(width, target.size)

    def vector(self, features):
        return features.vector()

    def forward(self, features):
        return self.linear(self.vector(features))

    def loss(self, output, truth):
        loss = F.cross_entropy(output, truth["label"], label_smoothing=self.smoothing, reduction="none")
        return loss.masked_fill(~truth["mask"], 0)

    def predict(self, output):
        return {"probabilities": output.softmax(1)}


class Ranking(Sound):
    """A loss may set samples against each other."""

    def loss(self, output, truth):
        plain = super().loss(output, truth)
        return plain * (1 + plain.detach().mean())


# ---------------------------------------------------------------------------------------------------- planted defects


class Undocumented(Sound):
    """It has an option that nobody explains."""

    def __init__(self, width, target, transform, *, rate: float = 0.1):
        super().__init__(width, target, transform)


class ReadsNothing(Sound):
    reads = None


class WideMask(Words):
    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        return batch | {"mask": batch["mask"].unsqueeze(1)}


class AlwaysDraws(Words):
    def __call__(self, values, generator=None):
        return super().__call__(values, generator) | {"weight": torch.rand(len(values))}


class ReusesBuffer(Words):
    def fit(self, values):
        super().fit(values)
        self.labels = torch.zeros(64, dtype=torch.long)

    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        place = self.labels[: len(values)]
        place.copy_(batch["label"])
        return batch | {"label": place}


class KeepsCall(Words):
    def __call__(self, values, generator=None):
        self.rows = []
        for number in range(len(values)):
            self.rows.append(values[number])
        rows = self.rows[: len(values)]
        return super().__call__(rows + [None] * (len(values) - len(rows)), generator)


class Accumulates(Words):
    """The other kinds of tree that it met before stay classes."""

    def fit(self, values):
        before = self.names
        super().fit(values)
        self.names = (*self.names, *before)


class Boasts(Words):
    augments = True


class Forgets(Words):
    def restore(self, state):
        self.names = tuple(reversed(state["names"]))


class ForgetsTarget(Words):
    def target(self):
        return Target("classes", len(self.names), self.names, samples=getattr(self, "seen", 0))

    def fit(self, values):
        super().fit(values)
        self.seen = len(values)


class Unpicklable(Words):
    def __init__(self, kind):
        super().__init__(kind)
        self.order = lambda name: name


def reading(transform):
    return type(f"Reads{transform.__name__}", (Sound,), {"reads": transform, "__doc__": Sound.__doc__})


class DropsInEvaluation(Sound):
    def vector(self, features):
        return F.dropout(super().vector(features), 0.5)


class MeanLoss(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth).mean()


class WrongSize(Sound):
    def forward(self, features):
        return super().forward(features)[:, :2]

    def loss(self, output, truth):
        return output.sum(1)


class Squeezes(Sound):
    def forward(self, features):
        return super().forward(features).squeeze(0)


class SeesMates(Sound):
    def vector(self, features):
        vector = super().vector(features)
        return vector + vector.mean(0)


class CountsPadding(Sound):
    def vector(self, features):
        return features.tokens.mean(1)


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


class Scaled(Numbers):
    """The truth in standard deviations, and the inverse as it comes: the units are forgotten."""

    def __call__(self, values, generator=None):
        batch = super().__call__(values, generator)
        target = self.target()
        scaled = (batch["values"] - torch.tensor(target.mean)) / torch.tensor(target.std)
        return {**batch, "values": scaled.masked_fill(~batch["mask"].unsqueeze(1), 0)}


class Plain(nn.Module):
    """Numbers as they come, in the user's units, by squared error."""

    reads = Numbers

    def __init__(self, width, target, transform):
        super().__init__()
        self.linear = nn.Linear(width, target.size)

    def forward(self, features):
        return self.linear(features.vector())

    def loss(self, output, truth):
        error = output - truth["values"].masked_fill(~truth["mask"].unsqueeze(1), 0)
        return error.square().mean(1).masked_fill(~truth["mask"], 0)

    def predict(self, output):
        return {"values": output}


class ForgetsUnits(Plain):
    reads = Scaled


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


class RateOfNothing(Sound):
    rates: ClassVar = {"linear.weights": 0.1}


class IgnoresSmoothing(Sound):
    """Its option is read and forgotten.

    Args:
        smoothing: of labels.
        hard: no smoothing at all.
    """

    def __init__(self, width, target, transform, *, smoothing: float = 0.1, hard: bool = False):
        super().__init__(width, target, transform, smoothing=0.0 if hard else 0.1)


class ActsBeside(Sound):
    """An option acts beside another choice alone.

    Args:
        smoothing: of labels, with loss=smooth.
        loss: "plain" or "smooth".
    """

    def __init__(self, width, target, transform, *, smoothing: float = 0.1, loss: Literal["plain", "smooth"] = "plain"):
        super().__init__(width, target, transform, smoothing=smoothing if loss == "smooth" else 0.0)


class TakesCount(Sound):
    """The last token of a prefix is at its count; with holes it is another."""

    def vector(self, features):
        last = features.mask.sum(1).clamp(min=1) - 1
        return features.tokens[torch.arange(len(last)), last]


class EightRows(Sound):
    def __init__(self, width, target, transform):
        super().__init__(width, target, transform)
        self.register_buffer("rows", torch.zeros(8, target.size))

    def forward(self, features):
        output = super().forward(features)
        return output + self.rows[: len(output)]


class FirstTokens(Sound):
    def vector(self, features):
        return features.tokens[:, :16].mean(1)


class FiniteForwardOnly(Sound):
    def vector(self, features):
        mean = features.tokens.sum(1) / features.mask.sum(1, keepdim=True)
        return torch.where(features.present().unsqueeze(1), mean * mean, 0)

    def forward(self, features):
        norm = features.tokens.sum(1).norm(dim=1, keepdim=True) + features.tokens.square().sum((1, 2)).sqrt().unsqueeze(
            1
        )
        return self.linear(features.vector()) + norm


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


class PlainTensor(Sound):
    def __init__(self, width, target, transform):
        super().__init__(width, target, transform)
        self.prior = torch.randn(target.size)

    def forward(self, features):
        output = super().forward(features)
        return output + self.prior.to(output.dtype)


class WritesTruth(Sound):
    def loss(self, output, truth):
        truth["label"].zero_()
        return super().loss(output, truth)


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


class FirstToken(Sound):
    def vector(self, features):
        return features.tokens[:, 0]


class MakesOnCpu(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth) * torch.ones(len(output), dtype=output.dtype)


class Branches(Sound):
    def loss(self, output, truth):
        return super().loss(output, truth) * (2 if truth["mask"].all() else 3)


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(Undocumented, "rate")],
    "builds": [(ReadsNothing, "`reads`")],
    "transform-batch": [(reading(WideMask), r"bool \[B\]; got")],
    "transform-repeatable": [(reading(AlwaysDraws), "two different batches")],
    "transform-buffer": [(reading(ReusesBuffer), "reuses a buffer")],
    "transform-threads": [(reading(KeepsCall), "keep nothing of a call in self")],
    "transform-fit": [(reading(Accumulates), "fit accumulates")],
    "transform-augments": [(reading(Boasts), "augments is True")],
    "transform-state": [(reading(Forgets), "lacks something"), (reading(ForgetsTarget), "its target is")],
    "transform-pickle": [(reading(Unpicklable), "raised")],
    "deterministic": [(DropsInEvaluation, "random number")],
    "shapes": [(MeanLoss, r"the loss is torch.float32 \[\]"), (WrongSize, r"the output is .* \[4, 2\]")],
    "one-sample": [(Squeezes, "raised")],
    "mates": [(SeesMates, "without the others")],
    "padding": [(CountsPadding, "more padding")],
    "holes": [(TakesCount, "mask is x-x")],
    "large": [(EightRows, "raised RuntimeError"), (FirstTokens, "last third is not read")],
    "vectors": [(FirstToken, "vectors in the place of tokens")],
    "missing-rows": [(FiniteForwardOnly, "gradient")],
    "gradients": [(Unused, "forgotten")],
    "influence": [(Deaf, "input features")],
    "reach": [(Detached, "no gradient reaches input features")],
    "state-dict": [(PlainTensor, "after its state is loaded")],
    "mutation": [(WritesTruth, "1.label")],
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
    ],
    "learns-the-truth": [
        (Opposite, "where the truth is 'ash'"),
        (OppositePrediction, "its loss went from"),
        (reading(OtherOrder), "says {'label'"),
        (reading(PlainNames), "is a mapping with label"),
    ],
    "rates": [(RateOfNothing, "name 'linear.weights', which is no parameter")],
    "options-act": [(IgnoresSmoothing, "option smoothing changes nothing")],
    "not-negative": [(Opposite, "in evaluation it gives -"), (RewardInTraining, "in training it gives -")],
    "size-of-loss": [(TimesBatch, "in one of 128")],
    "unknown-truth": [(ReadsUnknown, "another placeholder")],
    "compiles": [(Branches, "raised")],
    "exports": [(Branches, "raised")],
}
HEAVY = {c.name for c in checks_of("head", full=True) if c.full}
SPEC = HeadSpec("words", "", "", targets=("classes",), vectors=True)


def test_every_check_has_a_control():
    assert set(CONTROLS) == {c.name for c in checks_of("head", full=True)} - HERE


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("head", component, spec=SPEC, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
    if name != "options":
        assert result.message.startswith("target classes: ")


@pytest.mark.parametrize("component", [Sound, Ranking, ActsBeside])
def test_no_sound_head_is_forbidden(examine, component):
    results = examine("head", component, spec=SPEC)
    assert [str(r) for r in results.values() if r.status != "passed" and r.check.name != "rates"] == []


NUMBERS = HeadSpec("numbers", "", "", targets=("scalar",), vectors=True)


def test_forgotten_units_are_caught(examine):
    assert {r.status for r in examine("head", Plain, spec=NUMBERS).values()} == {"passed", "not applicable"}
    results = examine("head", ForgetsUnits, spec=NUMBERS, names={"learns-the-truth"})
    assert re.search(r"where the truth is .* says {'value'", results["learns-the-truth"].message)


@pytest.mark.full
def test_sound_heads_are_captured(examine):
    results = examine("head", Sound, spec=SPEC, names=HEAVY)
    assert {r.status for r in results.values()} == {"passed"}, results


def test_a_kind_of_target_without_examples_is_said_not_to_apply(examine):
    results = examine("head", Sound, spec=HeadSpec("words", "", "", targets=("graph",)))
    assert {r.status for r in results.values()} == {"not applicable"}
