"""What the controls of heads share: sound ones, and what defects are planted in."""

import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Target
from mmkit.plugin import HeadSpec


class Words:
    """Classes by their place in the alphabet."""

    augments = False

    def __init__(self, kind):
        self.kind = kind
        self.names = ()

    def fit(self, values):
        self.names = tuple(sorted({v for v in values if v is not None}))

    def __call__(self, values, generator=None):
        label = torch.tensor([0 if v is None else self.names.index(v) for v in values])
        return {"label": label, "mask": torch.tensor([v is not None for v in values])}

    def state(self):
        return {"names": list(self.names)}

    def restore(self, state):
        self.names = tuple(state["names"])

    def target(self):
        return Target("classes", len(self.names), self.names)

    def inverse(self, prediction):
        return [{"label": self.names[i]} for i in prediction["probabilities"].argmax(1)]


class Sound(nn.Module):
    """A linear layer and cross-entropy.

    Args:
        smoothing: of labels.
    """

    reads = Words

    def __init__(self, width, target, transform, *, smoothing: float = 0.1):
        super().__init__()
        self.smoothing = smoothing
        self.linear = nn.Linear(width, target.size)

    def vector(self, features):
        return features.vector()

    def forward(self, features):
        return self.linear(self.vector(features))

    def loss(self, output, truth):
        loss = F.cross_entropy(output, truth["label"], label_smoothing=self.smoothing, reduction="none")
        return loss.masked_fill(~truth["mask"], 0)

    def predict(self, output):
        return {"probabilities": output.softmax(1)}


def reading(transform):
    return type(f"Reads{transform.__name__}", (Sound,), {"reads": transform, "__doc__": Sound.__doc__})


SPEC = HeadSpec("words", "", "", targets=("classes",), vectors=True)
