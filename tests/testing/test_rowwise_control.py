"""The check of encoders that say `rowwise` catches the defects planted for it, and forbids no sound one."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.encoders.text_rnn import TextRnnEncoder
from mmkit.encoders.text_transformer import TextTransformerEncoder
from mmkit.errors import ContractError
from mmkit.modalities.text import Text
from mmkit.plugin import EncoderSpec
from mmkit.testing.checks.rowwise import rowwise
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.transforms.text import TextTransform


class Embedded(nn.Module):
    reads = TextTransform
    rowwise = True

    def __init__(self, transform):
        super().__init__()
        self.width = 8
        self.words = nn.Embedding(transform.size, 8)
        self.norm = nn.Identity()
        self.drop = nn.Dropout(0.5)

    def tokens(self, batch):
        return self.norm(self.drop(self.words(batch["tokens"])))

    def forward(self, batch):
        return Features.of(self.tokens(batch), batch["mask"])


class Normed(Embedded):
    """By the statistics of the batch."""

    def tokens(self, batch):
        x = super().tokens(batch)
        return nn.functional.batch_norm(x.transpose(1, 2), None, None, training=self.training).transpose(1, 2)


class Centred(Embedded):
    """By the mean of its mates, in training."""

    def tokens(self, batch):
        x = super().tokens(batch)
        return x - x.mean((0, 1)) if self.training else x


class Silent(Centred):
    rowwise = False


class Drawn(Embedded):
    def tokens(self, batch):
        x = super().tokens(batch)
        return x + torch.randn_like(x) if self.training else x


def specimen(component, **options):
    spec = EncoderSpec("x", "x:X", "X", modality="text")
    return EncoderSpecimen(component, options, {}, spec, Text())


@pytest.mark.parametrize("component", [Normed, Centred])
def test_a_row_that_depends_on_its_mates_in_training_fails(component):
    with pytest.raises(ContractError, match="in training, rows"):
        rowwise(specimen(component))


@pytest.mark.parametrize("component", [Embedded, TextRnnEncoder, TextTransformerEncoder])
def test_a_sound_one_passes_in_spite_of_dropout(component):
    assert rowwise(specimen(component)) is None


def test_where_nothing_is_said_or_seen_it_does_not_apply():
    assert rowwise(specimen(Silent)) == "it does not say rowwise"
    assert rowwise(specimen(Drawn)) == "it draws random numbers beside dropout"
