"""The checks of what goes on within encoders catch the defects planted for them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.encoders.tcn import TcnEncoder
from mmkit.errors import ContractError
from mmkit.fusions.inner.central import CentralFusion
from mmkit.fusions.inner.mmtm import MmtmFusion
from mmkit.modalities.series import Series
from mmkit.plugin import EncoderSpec, FusionSpec
from mmkit.testing.checks.stages import exchange, stages
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen


class WrongWidth(TcnEncoder):
    def __init__(self, transform):
        super().__init__(transform)
        self.inner = (self.width + 1, *self.inner[1:])


class AnotherForward(TcnEncoder):
    def forward(self, batch):
        return Features.of(2 * super().forward(batch).tokens, batch["mask"])


class PutsNothing(TcnEncoder):
    def put(self, state, features):
        return state


class PutsHalf(TcnEncoder):
    def put(self, state, features):
        return super().put(state, replace(features, tokens=features.tokens / 2))


class PutsInMates(TcnEncoder):
    def put(self, state, features):
        here, mask = super().put(state, features)
        before = state[0].masked_fill(~mask.unsqueeze(1), 0)
        return here + (here - before).sum(0), mask


class ShowsAll(TcnEncoder):
    def get(self, state):
        seen = super().get(state)
        return replace(seen, mask=torch.ones_like(seen.mask))


@pytest.mark.parametrize(
    ("component", "told"),
    [
        (WrongWidth, "inner says width 65"),
        (AnotherForward, "by begin, stage and finish"),
        (PutsNothing, "changes nothing behind it"),
        (PutsHalf, "put back at place 0"),
        (PutsInMates, "in rows beside the one"),
        (ShowsAll, "get gives another mask"),
    ],
)
def test_a_broken_encoder_is_found(component, told):
    with pytest.raises(ContractError, match=told):
        stages(_encoder(component))


def test_a_sound_encoder_passes_and_one_without_places_is_left_out():
    assert stages(_encoder(TcnEncoder)) is None
    assert stages(_encoder(TcnEncoder, layers=1)) == "it has no places within"


def _encoder(component, **options):
    spec = EncoderSpec("x", "y:Z", "z", modality="series")
    return EncoderSpecimen(component, options, {}, spec, Series())


class Shortens(MmtmFusion):
    def exchange(self, place, features):
        found = super().exchange(place, features)
        return {n: Features(f.tokens[:, :1], f.mask[:, :1]) for n, f in found.items()}


class Unmasks(MmtmFusion):
    def exchange(self, place, features):
        found = super().exchange(place, features)
        return {n: replace(f, mask=torch.ones_like(f.mask)) for n, f in found.items()}


class Invents(MmtmFusion):
    def exchange(self, place, features):
        return {**super().exchange(place, features), "centre": features["a"]}


class ReadsDetails(CentralFusion):
    """Its states are details, which a balance method lets pass as they are."""

    def exchange(self, place, features):
        found = super().exchange(place, features)
        return {n: replace(f, details=f.inner, inner={}) for n, f in found.items()}

    def forward(self, features):
        return super().forward({n: replace(f, inner=f.details) for n, f in features.items()})


class ReadsDetailsIfThere(MmtmFusion):
    def exchange(self, place, features):
        found = super().exchange(place, features)
        return {n: replace(f, details={"state": f.vector()}) for n, f in found.items()}

    def forward(self, features):
        found = super().forward(features)
        more = sum(part.details["state"].sum(1) for part in features.values() if "state" in part.details)
        return Features.of(found.vector() + torch.as_tensor(more).reshape(-1, 1), found.mask)


class SumsOverRows(CentralFusion):
    def exchange(self, place, features):
        found = super().exchange(place, features)
        return {n: replace(f, inner={k: one.sum(0) for k, one in f.inner.items()}) for n, f in found.items()}


class NamesNone(nn.Module):
    def __init__(self, widths, inner):
        super().__init__()
        self.width = 4


@pytest.mark.parametrize(
    ("component", "told"),
    [
        (Shortens, "of a, or another mask"),
        (Unmasks, "of a, or another mask"),
        (ReadsDetails, "gives `details` that forward reads; .*raised KeyError"),
        (ReadsDetailsIfThere, "gives `details` that forward reads; .* is off by"),
        (SumsOverRows, r"exchange gives inner\['central.2'\] \[8\] of a; it is \[B ...\]"),
        (Invents, "exchange gives centre, and was shown a, b, c"),
        (NamesNone, "places names none within encoders"),
    ],
)
def test_a_broken_fusion_is_found(component, told):
    with pytest.raises(ContractError, match=told):
        exchange(_fusion(component))


@pytest.mark.parametrize("component", [MmtmFusion, CentralFusion])
def test_a_sound_fusion_passes(component):
    assert exchange(_fusion(component)) is None


def _fusion(component):
    return FusionSpecimen(component, {}, FusionSpec("x", "y:Z", "z", inner="exchange"))
