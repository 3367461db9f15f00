"""What the controls of fusions share: sound ones, and what defects are planted in."""

import torch
from torch import nn

from mmkit.contract import Features
from mmkit.plugin import FusionSpec


class Sound(nn.Module):
    """A sum of projections.

    Args:
        width: H.
        dropout: in training.
    """

    def __init__(self, widths, *, width: int = 16, dropout: float = 0.1):
        super().__init__()
        self.width = width
        self.maps = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def vector(self, features, name):
        return features[name].vector()

    def total(self, features):
        return sum(self.maps[n](self.vector(features, n)) * features[n].present().unsqueeze(1) for n in self.maps)

    def fused(self, features):
        return self.out(self.dropout(torch.tanh(self.total(features))))

    def forward(self, features):
        return Features.of(self.fused(features))


class Scorer(nn.Module):
    """Attention over the tokens of all inputs: one token, or one input, has nothing to be scored against.

    Args:
        width: H.
    """

    def __init__(self, widths, *, width: int = 16):
        super().__init__()
        self.width = width
        self.maps = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, features):
        tokens = torch.cat([torch.tanh(self.maps[n](features[n].tokens)) for n in self.maps], 1)
        mask = torch.cat([features[n].mask for n in self.maps], 1)
        scores = self.score(tokens).squeeze(-1).masked_fill(~mask, -1e4).softmax(1)
        pooled = ((scores * mask).unsqueeze(-1) * tokens).sum(1)
        return Features.of(tokens, mask, pooled, {"entropy": 0.01 * (scores * mask).square().sum(1)})


class Mean(nn.Module):
    """At decision level, without a parameter."""

    def __init__(self, widths, target):
        super().__init__()
        self.width = target.size

    def forward(self, features):
        count = sum(f.present().float() for f in features.values()).clamp(min=1)
        return Features.of(sum(features[n].vector() for n in sorted(features)) / count.unsqueeze(1))


class CountsPresent(Mean):
    """At decision level, the mean counts who is missing."""

    def forward(self, features):
        return Features.of(sum(features[n].vector() for n in sorted(features)) / len(features))


class Beside(nn.Module):
    """At decision level, the sum of the outputs and of one layer over the features."""

    def __init__(self, widths, target):
        super().__init__()
        self.width = target.size
        self.maps = nn.ModuleDict({name: nn.Linear(d, target.size, bias=False) for name, d in widths.items()})

    def heard(self, outputs, name):
        return outputs[name].vector()

    def forward(self, features, outputs):
        return Features.of(sum(self.maps[n](features[n].vector()) + self.heard(outputs, n) for n in self.maps))


class FirstToken(Sound):
    def vector(self, features, name):
        return features[name].tokens[:, 0]


SPECS = {
    Sound: FusionSpec("sound", "", "", vectors=True),
    FirstToken: FusionSpec("first-token", "", "", vectors=True),
    Mean: FusionSpec("mean", "", "", combines="outputs"),
    CountsPresent: FusionSpec("counts-present", "", "", combines="outputs"),
    Beside: FusionSpec("beside", "", "", combines="both", vectors=True),
}
