"""Retrieval and zero-shot classification with small frozen encoders: does a drawing find its title, a title its class?

Encoders of one family, such as open-clip-image and open-clip-text, share a space as they are. A drawing's colours and a
title's spelling do not, so a ridge map is fitted on pairs of the two. A title and the name of a class do: both are
texts. No label is ever learnt from. Colours and spelling find a drawing's title better than chance; no class is named
that way, for which an encoder has to know what words mean.
"""

import zlib

import torch
from torch import nn

import mmkit
from mmkit.transforms.image import ImageTransform


class Thumbnail(nn.Module):
    """A drawing as 12 x 12 average colours."""

    reads = ImageTransform
    frozen = True

    def __init__(self, transform):
        super().__init__()
        self.width = transform.channels * 12 * 12

    def forward(self, batch):
        pixels = batch["pixels"].float() / 255
        return mmkit.Features.of(nn.functional.adaptive_avg_pool2d(pixels, 12).flatten(1), batch["mask"])


class Trigrams:
    """A text as counts of its three-letter pieces, each at a place that a hash says."""

    augments = False
    size = 1024

    def fit(self, values):
        """Nothing is learnt."""

    def __call__(self, values, generator=None):
        counts = torch.zeros(len(values), self.size)
        for row, value in enumerate(values):
            text = f" {value or ''} ".lower()
            for at in range(len(text) - 2):
                counts[row, zlib.crc32(text[at : at + 3].encode()) % self.size] += 1
        return {"counts": counts, "mask": torch.tensor([value is not None for value in values])}

    def state(self):
        return {}

    def restore(self, state):
        """Nothing was learnt."""


class Spelling(nn.Module):
    """Those counts, of unit length."""

    reads = Trigrams
    frozen = True

    def __init__(self, transform):
        super().__init__()
        self.width = transform.size

    def forward(self, batch):
        return mmkit.Features.of(nn.functional.normalize(batch["counts"], dim=-1), batch["mask"])


found = mmkit.retrieve(task="clipart", encoders={"image": Thumbnail, "title": Spelling}, map="ridge", cache="features")
for direction, figures in found.directions.items():
    print(f"{direction}: recall at 10 {figures['recall@10']:.3f}, by chance at most {10 * found.chance:.3f}")

named = mmkit.zero_shot(
    task="clipart", input="title", encoder=Spelling, text_encoder=Spelling, templates="{}", cache="features"
)
print(f"classes by name: accuracy {named.metrics['accuracy']:.3f}, always the most frequent {named.majority:.3f}")
