"""The check of processes that share a batch catches the defects planted for it, and forbids no sound component."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.layers.batch_sums import batch_sums
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.testing.checks.processes import processes
from mmkit.testing.specimens.encoder import EncoderSpecimen
from tests.testing import sound_fusions
from tests.testing.sound_encoders import SPEC, Sound, Steps


class CountsItsOwn(Sound):
    """A batch norm over the rows of its own process."""

    def tokens(self, batch):
        x = super().tokens(batch)
        if not self.training:
            return x
        real = batch["mask"].unsqueeze(-1)
        mean = (x * real).sum((0, 1)) / real.sum().clamp(min=1)
        return x - mean


class Centred(CountsItsOwn):
    """The same over all processes."""

    def tokens(self, batch):
        x = Sound.tokens(self, batch)
        if not self.training:
            return x
        real = batch["mask"].unsqueeze(-1)
        total, count = batch_sums((x * real).sum((0, 1)), real.sum())
        return x - total / count.clamp(min=1)


class NoGradient(Centred):
    """The sums of the others are added without a gradient."""

    def tokens(self, batch):
        x = Sound.tokens(self, batch)
        if not self.training:
            return x
        real = batch["mask"].unsqueeze(-1)
        own = (x * real).sum((0, 1))
        total, count = batch_sums(own.detach(), real.sum())
        return x - (total - own.detach() + own) / count.clamp(min=1)


class MeanOfMeans(Centred):
    """Processes count alike, however many rows they have."""

    def tokens(self, batch):
        x = Sound.tokens(self, batch)
        if not self.training:
            return x
        real = batch["mask"].unsqueeze(-1)
        total, parts = batch_sums((x * real).sum((0, 1)) / real.sum().clamp(min=1), torch.ones(()))
        return x - total / parts


class Forgets(Centred):
    """Its running mean is that of its own process."""

    def __init__(self, transform):
        super().__init__(transform)
        self.register_buffer("seen", torch.zeros(()))

    def tokens(self, batch):
        if self.training:
            self.seen += batch["steps"].sum()
        return super().tokens(batch)


class AsksInVain(Centred):
    """It sums only where a process has many rows."""

    def tokens(self, batch):
        return super().tokens(batch) if len(batch["mask"]) > 3 else Sound.tokens(self, batch)


class Normed(Sound):
    def __init__(self, transform):
        super().__init__(transform)
        self.norm = MaskedBatchNorm(self.width)
        self.drop = nn.Dropout(0.5)

    def tokens(self, batch):
        return self.drop(self.norm(super().tokens(batch).transpose(1, 2), batch["mask"]).transpose(1, 2))


class Plain(Sound):
    """A batch norm of torch, which a training over processes replaces."""

    def __init__(self, transform):
        super().__init__(transform)
        self.norm = nn.BatchNorm1d(self.width)

    def tokens(self, batch):
        return self.norm(super().tokens(batch).transpose(1, 2)).transpose(1, 2)


class Drawn(Sound):
    def tokens(self, batch):
        x = super().tokens(batch)
        return x + torch.randn_like(x) if self.training else x


class OwnBalance(sound_fusions.Sound):
    """Its penalty is of the rows of its own process."""

    def forward(self, features):
        fused = self.fused(features)
        penalties = {"size": fused.mean(0).square().sum().expand(len(fused))} if self.training else {}
        return Features.of(fused, None, None, penalties)


class WholeBalance(OwnBalance):
    """The same of all rows."""

    def forward(self, features):
        fused = self.fused(features)
        if not self.training:
            return Features.of(fused)
        total, count = batch_sums(fused.sum(0), torch.tensor(len(fused)))
        return Features.of(fused, None, None, {"size": (total / count).square().sum().expand(len(fused))})


def specimen(component):
    return EncoderSpecimen(component, {}, {}, SPEC, Steps())


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (CountsItsOwn, "in training, rows .* in a process of their own"),
        (MeanOfMeans, "in training, rows .* in a process of their own"),
        (NoGradient, "gradient of .* over two processes"),
        (Forgets, "seen after a batch in two processes"),
        (AsksInVain, "more often"),
    ],
)
def test_what_counts_its_own_rows_fails(component, message):
    with pytest.raises(ContractError, match=message):
        processes(specimen(component))


@pytest.mark.parametrize("component", [Sound, Centred, Normed, Plain])
def test_a_sound_one_passes(component):
    assert processes(specimen(component)) is None


def test_what_draws_random_numbers_is_left_out():
    assert processes(specimen(Drawn)) == "it draws random numbers beside dropout"


def test_the_penalty_of_a_fusion_counts_all_rows(examine):
    def found(component):
        return examine("fusion", component, names={"processes"})["processes"]

    assert found(WholeBalance).status == "passed"
    assert found(OwnBalance).status == "failed"
    assert "gradient of" in found(OwnBalance).message
