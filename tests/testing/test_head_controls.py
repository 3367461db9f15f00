"""Each check of heads has a control, and forbids no sound head."""

import re
from typing import Literal

import pytest
import torch
from torch import nn

from mmkit.plugin import HeadSpec
from mmkit.testing import checks_of
from mmkit.transforms.truth import Numbers
from tests.testing import test_head_form as form
from tests.testing import test_head_numbers as numbers
from tests.testing import test_head_rows as rows
from tests.testing.sound_heads import SPEC, Sound
from tests.testing.test_surroundings import HERE


class Ranking(Sound):
    """A loss may set samples against each other."""

    def loss(self, output, truth):
        plain = super().loss(output, truth)
        return plain * (1 + plain.detach().mean())


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


class ActsBeside(Sound):
    """An option acts beside another choice alone.

    Args:
        smoothing: of labels, with loss=smooth.
        loss: "plain" or "smooth".
    """

    def __init__(self, width, target, transform, *, smoothing: float = 0.1, loss: Literal["plain", "smooth"] = "plain"):
        super().__init__(width, target, transform, smoothing=smoothing if loss == "smooth" else 0.0)


NUMBERS = HeadSpec("numbers", "", "", targets=("scalar",), vectors=True)

HEAVY = {c.name for c in checks_of("head", full=True) if c.full}


def test_every_check_has_a_control():
    planted = {*form.CONTROLS, *rows.CONTROLS, *numbers.CONTROLS}
    assert planted == {c.name for c in checks_of("head", full=True)} - HERE


@pytest.mark.parametrize("component", [Sound, Ranking, ActsBeside])
def test_no_sound_head_is_forbidden(examine, component):
    results = examine("head", component, spec=SPEC)
    assert [str(r) for r in results.values() if r.status != "passed" and r.check.name != "rates"] == []


def test_forgotten_units_are_caught(examine):
    assert {r.status for r in examine("head", Plain, spec=NUMBERS).values()} == {"passed", "not applicable"}
    results = examine("head", ForgetsUnits, spec=NUMBERS, names={"learns-the-truth"})
    assert re.search(r"where the truth is .* says {'value'", results["learns-the-truth"].message)


@pytest.mark.full
def test_sound_heads_are_captured(examine):
    results = examine("head", Sound, spec=SPEC, names=HEAVY)
    assert {r.status for r in results.values()} == {"passed"}, results


def test_of_a_kind_of_target_without_examples_the_options_alone_are_looked_at(examine):
    results = examine("head", Sound, spec=HeadSpec("words", "", "", targets=("graph",)))
    assert results["options"].status == "passed"
    assert {r.status for name, r in results.items() if name != "options"} == {"not run"}
