"""Defects of heads that each check of construction, transforms, options and state catches."""

import re
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from mmkit.contract import Target
from mmkit.testing import checks_of
from tests.testing.sound_heads import SPEC, Sound, Words, reading


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


class WantsList(Words):
    def fit(self, values):
        super().fit(values.copy())


class ReadsTwice(Words):
    streams = True

    def fit(self, values):
        super().fit(list(values))
        super().fit(list(values))


class MissingIsAClass(Words):
    """What is missing has a class of its own."""

    def fit(self, values):
        super().fit([str(value) for value in values])


CONTROLS: dict[str, list[tuple[Any, str]]] = {
    "options": [(Undocumented, "rate")],
    "builds": [(ReadsNothing, "`reads`")],
    "transform-batch": [(reading(WideMask), r"bool \[B\]; got")],
    "transform-repeatable": [(reading(AlwaysDraws), "two different batches")],
    "transform-buffer": [(reading(ReusesBuffer), "reuses a buffer")],
    "transform-threads": [(reading(KeepsCall), "keep nothing of a call in self")],
    "transform-fit": [(reading(Accumulates), "fit accumulates")],
    "transform-lazy": [(reading(WantsList), "no list: AttributeError")],
    "transform-streams": [(reading(ReadsTwice), "reads a value 2 times")],
    "transform-missing": [(reading(MissingIsAClass), "leave them out in fit")],
    "transform-augments": [(reading(Boasts), "augments is True")],
    "transform-state": [(reading(Forgets), "lacks something"), (reading(ForgetsTarget), "its target is")],
    "transform-pickle": [(reading(Unpicklable), "raised")],
    "deterministic": [(DropsInEvaluation, "random number")],
    "shapes": [(MeanLoss, r"the loss is torch.float32 \[\]"), (WrongSize, r"the output is .* \[4, 2\]")],
    "state-dict": [(PlainTensor, "after its state is loaded")],
    "mutation": [(WritesTruth, "1.label")],
    "rates": [(RateOfNothing, "name 'linear.weights', which is no parameter")],
    "options-act": [(IgnoresSmoothing, "option smoothing changes nothing")],
}
HEAVY = {c.name for c in checks_of("head", full=True) if c.full}


def test_defect_is_caught_by_its_own_check(examine, name, component, message):
    result = examine("head", component, spec=SPEC, names={name})[name]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message
    if name != "options":
        assert result.message.startswith("target classes: ")
