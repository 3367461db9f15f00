"""A temperature: one number by which the logits of a trained model are divided, so that its probabilities are honest.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599. It is applied to
probabilities, which is the same: softmax(log softmax(z) / T) = softmax(z / T), and likewise for the logit of each
label. So it suits every head, and no head knows of it.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeGuard

import torch
from torch import Tensor

from mmkit.contract import Batch


@dataclass(frozen=True)
class Temperature:
    """The temperature of classes or labels; above 1 it makes probabilities less sure, below 1 surer.

    Which class is the likeliest, and whether a label is likelier than not, stays as it is.

    Args:
        kind: of target.
        value: T.
    """

    kind: Literal["classes", "labels"]
    value: float

    def __call__(self, prediction: Batch) -> Batch:
        """The prediction with its `probabilities` [B C] at this temperature."""
        found = logits(prediction["probabilities"], self.kind) / self.value
        return {**prediction, "probabilities": found.softmax(-1) if self.kind == "classes" else found.sigmoid()}


def has_temperature(kind: str) -> TypeGuard[Literal["classes", "labels"]]:
    """Whether predictions of a kind of target are probabilities of classes or labels."""
    return kind in {"classes", "labels"}


def logits(probabilities: Tensor, kind: str) -> Tensor:
    """[B C]: the logarithms of probabilities of classes, or the logits of those of labels; finite also for 0 and 1."""
    numbers = torch.finfo(probabilities.dtype)
    if kind == "classes":
        return probabilities.clamp(min=numbers.tiny).log()
    return torch.logit(probabilities.clamp(numbers.tiny, 1 - numbers.eps / 2))
