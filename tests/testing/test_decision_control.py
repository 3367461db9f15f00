"""Defects that the check of fusions at decision level catches, and those of both kinds of what they read."""

import re

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.plugin import FusionSpec
from mmkit.testing import checks_of
from tests.testing.sound_fusions import Beside, Mean, Sound

BOTH = FusionSpec("x", "x:X", "X", combines="both", vectors=True)
OUTPUTS = FusionSpec("x", "x:X", "X", combines="outputs")


class TooWide(Beside):
    """Its width is that of fused features, and not the target's size."""

    def __init__(self, widths, target):
        super().__init__(widths, target)
        self.width = 16
        self.out = nn.Linear(target.size, 16)

    def forward(self, features, outputs):
        return Features.of(self.out(super().forward(features, outputs).vector()))


class DeafToOutputs(Beside):
    """It reads features alone, so it combines features."""

    def heard(self, outputs, name):
        return 0 * outputs[name].vector()


class DeafToOne(Beside):
    """It leaves out the output of one input."""

    def heard(self, outputs, name):
        return outputs[name].vector() * (name != "b")


class WideMean(Mean):
    """At decision level it gives one number too many."""

    def __init__(self, widths, target):
        super().__init__(widths, target)
        self.width = target.size + 1

    def forward(self, features):
        fused = super().forward(features).vector()
        return Features.of(torch.cat([fused, fused[:, :1]], 1))


CONTROLS = {
    "decision": [
        (TooWide, "its width is 16, and the target's size 3"),
        (DeafToOutputs, "the output of the head of a changes nothing: then it combines features"),
        (DeafToOne, "the output of the head of b changes nothing"),
        (WideMean, "its width is 4, and the target's size 3"),
    ]
}


class AddsItsBias(Beside):
    """The bias of a missing input's features counts in the sum."""

    def __init__(self, widths, target):
        super().__init__(widths, target)
        self.maps = nn.ModuleDict({name: nn.Linear(d, target.size) for name, d in widths.items()})


class ToMates(Beside):
    """It centres the outputs over the batch."""

    def heard(self, outputs, name):
        return outputs[name].vector() - outputs[name].vector().mean(0)


class Detached(Beside):
    """It gives the heads no gradient."""

    def heard(self, outputs, name):
        return outputs[name].vector().detach()


class ByPlace(Beside):
    """It takes the outputs in the order of the mapping."""

    def forward(self, features, outputs):
        scaled = sum(i * o.vector() for i, o in enumerate(outputs.values(), 1))
        return Features.of(sum(self.maps[n](features[n].vector()) for n in self.maps) + scaled)


def of(component):
    return OUTPUTS if issubclass(component, Mean) else BOTH


def test_it_catches_the_defect(examine, name, component, message):
    found = examine("fusion", component, spec=of(component), names=(name,))[name]
    assert found.status == "failed", found
    assert re.search(re.escape(message), found.message), found.message


@pytest.mark.parametrize(
    ("name", "component"),
    [("removal", AddsItsBias), ("mates", ToMates), ("derivative", Detached), ("order", ByPlace)],
)
def test_the_other_checks_see_the_outputs_of_both(examine, name, component):
    assert examine("fusion", component, spec=BOTH, names=(name,))[name].status == "failed"
    assert examine("fusion", Beside, spec=BOTH, names=(name,))[name].status == "passed"


def test_a_gradient_that_is_stopped_by_design_is_said_in_the_spec(examine):
    spec = FusionSpec("x", "x:X", "X", combines="both", vectors=True, detaches=True)
    found = examine("fusion", Detached, spec=spec, names=("derivative", "reach"))
    assert {one.status for one in found.values()} == {"not applicable"}
    assert {one.message for one in found.values()} == {"its spec says detaches=True: by design a gradient is stopped"}


def test_it_does_not_apply_to_features(examine):
    found = examine("fusion", Sound, spec=FusionSpec("x", "x:X", "X", vectors=True), names=("decision",))["decision"]
    assert (found.status, found.message) == ("not applicable", "it combines features")


def test_only_fusions_are_asked():
    assert [
        kind for kind in ("encoder", "fusion", "head", "objective") if "decision" in {c.name for c in checks_of(kind)}
    ] == ["fusion"]
