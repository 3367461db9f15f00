"""What the controls of encoders share: sound ones, and what defects are planted in."""

import torch
from torch import nn

from mmkit.contract import Features
from mmkit.plugin import EncoderSpec


class Steps:
    """Sequences of vectors, [T 3]."""

    def decode(self, raw):
        return raw

    def example(self, generator):
        length = int(torch.randint(2, 7, (), generator=generator))
        return 2 + 3 * torch.randn(length, 3, generator=generator)


class Padded:
    """Scales by what it saw, and pads.

    Args:
        noise: added where a generator is given.
    """

    def __init__(self, *, noise: float = 0.0):
        self.noise = noise
        self.augments = noise > 0
        self.mean = 0.0

    def fit(self, values):
        self.mean = float(torch.cat([v for v in values if v is not None]).mean())

    def __call__(self, values, generator=None):
        lengths = [0 if v is None else len(v) for v in values]
        steps = torch.zeros(len(values), max(1, *lengths), 3)
        for row, value in enumerate(values):
            if value is not None:
                steps[row, : len(value)] = value - self.mean
        if generator is not None and self.noise:
            steps = steps + self.noise * torch.randn(steps.shape, generator=generator)
        return {"steps": steps, "mask": torch.arange(steps.shape[1]) < torch.tensor(lengths).unsqueeze(1)}

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]


class Noisy(Padded):
    """Augments by its default.

    Args:
        noise: added where a generator is given.
    """

    def __init__(self, *, noise: float = 0.1):
        super().__init__(noise=noise)


class Sound(nn.Module):
    """A map of each step.

    Args:
        width: D.
        dropout: in training.
    """

    reads = Padded

    def __init__(self, transform, *, width: int = 6, dropout: float = 0.1):
        super().__init__()
        self.width = width
        self.map = nn.Linear(3, width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def tokens(self, batch):
        return self.out(self.dropout(torch.tanh(self.map(batch["steps"]))))

    def forward(self, batch):
        return Features.of(self.tokens(batch), batch["mask"])


class BatchNormed(Sound):
    """BatchNorm over what is real."""

    def __init__(self, transform):
        super().__init__(transform)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, batch):
        tokens = self.tokens(batch) * batch["mask"].unsqueeze(-1)
        pooled = self.norm(tokens.sum(1) / batch["mask"].sum(1, keepdim=True).clamp(min=1))
        return Features.of(tokens, batch["mask"], pooled)


class Frozen(Sound):
    """What never changes: no weight, and no batch norm."""

    frozen = True

    def __init__(self, transform):
        super().__init__(transform, dropout=0.0)
        self.norm = nn.BatchNorm1d(6)
        self.requires_grad_(False)  # noqa: FBT003

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def tokens(self, batch):
        return self.norm(super().tokens(batch).flatten(0, 1)).unflatten(0, batch["mask"].shape)


SPEC = EncoderSpec("steps", "", "", modality="steps")
