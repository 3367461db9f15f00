"""Defects that the checks of details and remarks catch, and what they let pass."""

import re

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion
from mmkit.fusions.vectors.gated import GatedFusion
from mmkit.fusions.vectors.modality_attention import ModalityAttentionFusion
from mmkit.plugin import FusionSpec
from mmkit.testing import checks_of
from tests.testing.sound_fusions import Sound


class Detailed(Sound):
    """It gives the length of its features where it is asked to."""

    def __init__(self, widths):
        super().__init__(widths)
        self.detailed = False

    def details(self, fused, features):
        return {"length": fused.norm(dim=1)}

    def forward(self, features):
        fused = super().forward(features)
        if not self.detailed:
            return fused
        return Features.of(fused.tokens, details=self.details(fused.vector(), features))


class Talkative(Detailed):
    """It gives details that nobody asked for, at a cost."""

    def forward(self, features):
        fused = super().forward(features)
        return Features.of(fused.tokens, details=self.details(fused.vector(), features))


class Silent(Detailed):
    def details(self, fused, features):
        return {}


class OfTheBatch(Detailed):
    """One number for all samples: dim 0 is not B."""

    def details(self, fused, features):
        return {"length": fused.norm(dim=1).mean(0, keepdim=True)}


class BesideItsMates(Detailed):
    def details(self, fused, features):
        return {"length": fused.norm(dim=1) / fused.norm(dim=1).amax()}


class Changes(Detailed):
    """Where details are asked for, its features are others."""

    def forward(self, features):
        fused = super().forward(features)
        return Features.of(2 * fused.tokens, details=fused.details) if self.detailed else fused


class ToPadding(Detailed):
    """Attention that forgets the mask: what padding gets is left out, and shares no longer sum to 1."""

    def details(self, fused, features):
        sizes = [part.tokens.shape[1] for part in features.values()]
        return {f"attention.{name}": part.mask / sum(sizes) for name, part in features.items()}


class OutOfBounds(Detailed):
    def details(self, fused, features):
        return {f"gate.{name}": 1 + part.vector().square() for name, part in features.items()}


class WithMissing(Detailed):
    """Weights that count what is missing and leave it out of the sum."""

    def details(self, fused, features):
        return {f"weight.{name}": part.present() / len(features) for name, part in features.items()}


class OfNobody(Detailed):
    def details(self, fused, features):
        return {"gate.nobody": torch.ones(len(fused), 1)}


class Divides(Detailed):
    """A missing input makes it infinite."""

    def details(self, fused, features):
        return {f"size.{name}": 1 / part.vector().norm(dim=1) for name, part in features.items()}


class Remarking(Sound):
    """It says what is so of shapes."""

    def remarks(self, features):
        return [f"{name} has one token" for name, part in features.items() if part.tokens.shape[1] == 1]


class Mumbles(Remarking):
    def remarks(self, features):
        return "; ".join(super().remarks(features))


class Counts(Remarking):
    """It looks at values, which are the samples' own."""

    def remarks(self, features):
        return [f"a is about {features['a'].tokens.mean():.3f}"]


CONTROLS = {
    "details": [
        (Talkative, "it gives 'length' while `detailed` is False"),
        (Silent, "it has `detailed`, and gives no details"),
        (OfTheBatch, "detail length is [1] instead of [4 ...]"),
        (BesideItsMates, "of 4 without the others"),
        (Changes, "with details"),
        (ToPadding, "the attention that all tokens get sums to"),
        (OutOfBounds, "is not from 0 to 1"),
        (WithMissing, "the weight of all inputs sums to"),
        (OfNobody, "detail gate.nobody is of no input; there are a, b, c"),
        (Divides, "in details"),
    ],
    "remarks": [
        (Mumbles, "in place of a list of sentences"),
        (Counts, "its remarks hang on values"),
    ],
}


def of(component):
    return FusionSpec("x", "x:X", "X", vectors=component is not AttentionFusion)


def test_it_catches_the_defect(examine, name, component, message):
    found = examine("fusion", component, spec=of(component), names=(name,))[name]
    assert found.status == "failed", found
    assert re.search(re.escape(message), found.message), found.message


@pytest.mark.parametrize("component", [Remarking, CrossAttentionFusion])
def test_sound_remarks_pass(examine, component):
    assert examine("fusion", component, spec=of(component), names=("remarks",))["remarks"].status == "passed"


@pytest.mark.parametrize("component", [Detailed, AttentionFusion, GatedFusion, ModalityAttentionFusion])
def test_sound_details_pass(examine, component):
    assert examine("fusion", component, spec=of(component), names=("details",))["details"].status == "passed"


def test_where_nothing_is_given_it_does_not_apply(examine):
    found = examine("fusion", Sound, spec=of(Sound), names=("details",))["details"]
    assert (found.status, found.message) == ("not applicable", "it gives no details")


def test_only_fusions_are_asked():
    assert [kind for kind in ("encoder", "fusion", "head") if "details" in {c.name for c in checks_of(kind)}] == [
        "fusion"
    ]
