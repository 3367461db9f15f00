"""The losses of all heads, one number for each sample, zero where truth is missing.

The placeholder of a missing truth is never read, be it a label out of range or NaN.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Target
from mmkit.layers.pairs import wide


def class_loss(
    output: Tensor,
    label: Tensor,
    mask: Tensor,
    *,
    smoothing: float = 0.0,
    gamma: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """[B]: cross-entropy over classes, or focal loss.

    With q = (1 - smoothing) at the true class, plus smoothing / C at every class, and p = softmax(output), the loss is
    `w[label] * sum_c q_c (1 - p_c)^gamma (-log p_c)`.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
    https://arxiv.org/abs/1512.00567 (smoothing); Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017,
    https://arxiv.org/abs/1708.02002 (gamma). Where both are asked for, the focal factor applies to every class.

    Args:
        output: [B C] logits.
        label: [B] long.
        mask: [B] bool, True where there is truth.
        smoothing: share of the truth that is spread evenly over all classes.
        gamma: of the focal loss; 0 is cross-entropy.
        weights: [C], the weight of a sample of each class.
    """
    label = torch.where(mask, label, 0)
    log_p = wide(output).log_softmax(-1)  # [B C]
    terms = -log_p * _focus(log_p, gamma)
    loss = (1 - smoothing) * terms.gather(-1, label.unsqueeze(-1)).squeeze(-1) + smoothing * terms.mean(-1)
    if weights is not None:
        loss = loss * weights[label]
    return torch.where(mask, loss, 0)


def label_loss(
    output: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    smoothing: float = 0.0,
    gamma: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """[B]: `class_loss` with each label as a question of two classes, averaged over the labels.

    Args:
        output: [B C] logits.
        labels: [B C] of 0 and 1.
        mask: [B] bool, True where there is truth.
        smoothing: share of the truth that is spread evenly over yes and no.
        gamma: of the focal loss; 0 is binary cross-entropy.
        weights: [2 C], the weight of a no and of a yes of each label.
    """
    output = wide(output)
    yes = torch.where(mask.unsqueeze(-1), labels, 0).to(output.dtype)  # [B C]
    log_yes, log_no = F.logsigmoid(output), F.logsigmoid(-output)
    q = yes * (1 - smoothing) + smoothing / 2
    loss = -q * log_yes * _focus(log_yes, gamma) - (1 - q) * log_no * _focus(log_no, gamma)
    if weights is not None:
        loss = loss * torch.lerp(weights[0].to(loss.dtype), weights[1].to(loss.dtype), yes)
    return torch.where(mask, loss.mean(-1), 0)


def number_loss(
    output: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    loss: Literal["mse", "mae", "huber"] = "mse",
    delta: float = 1.0,
) -> Tensor:
    """[B]: squared, absolute or Huber's error, averaged over the numbers.

    Huber, "Robust Estimation of a Location Parameter", The Annals of Mathematical Statistics 1964,
    https://doi.org/10.1214/aoms/1177703732.

    Args:
        output: [B C].
        values: [B C], in the output's scale.
        mask: [B] bool, True where there is truth.
        loss: which error.
        delta: error above which Huber's loss is linear.
    """
    output = wide(output)
    values = torch.where(mask.unsqueeze(-1), values, 0).to(output.dtype)
    if loss == "mse":
        error = F.mse_loss(output, values, reduction="none")
    elif loss == "mae":
        error = F.l1_loss(output, values, reduction="none")
    else:
        error = F.huber_loss(output, values, reduction="none", delta=delta)
    return torch.where(mask, error.mean(-1), 0)


def balanced_weights(target: Target) -> Tensor:
    """Weights under which every class counts the same in total; over the training split they average to 1.

    For classes [C]: samples / (C * samples of the class). For labels [2 C], no and yes of each label as two classes;
    an answer that never occurs is not counted.

    Raises:
        ValueError: the target has no counts.
    """
    if not target.counts or target.samples < 1:
        raise ValueError("class_weights balanced needs the counts of the training split; the target has none")
    counts = torch.tensor(target.counts, dtype=torch.float64)
    if target.kind == "labels":
        counts = torch.stack((target.samples - counts, counts))  # [2 C]
    sides = (counts > 0).sum(0)  # of one question: all classes, or the no and yes of a label
    weights = target.samples / (sides * counts.clamp(min=1))
    return weights.float()


class CategoryLoss(nn.Module):
    """The loss of classes or labels, as a head's options describe it.

    Raises:
        ValueError: the target has neither classes nor labels.
    """

    weights: Tensor | None

    def __init__(
        self,
        target: Target,
        *,
        label_smoothing: float | None = None,
        class_weights: Literal["none", "balanced"] = "none",
        loss: Literal["cross-entropy", "focal"] = "cross-entropy",
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels"}:
            raise ValueError(f"this head predicts classes or labels; the target is of kind {target.kind}")
        self.classes = target.kind == "classes"
        self.gamma = gamma if loss == "focal" else 0.0
        usual = 0.1 if self.classes and loss == "cross-entropy" else 0.0
        self.smoothing = usual if label_smoothing is None else label_smoothing
        self.asked = label_smoothing is not None
        # Known from the target alone, so it is not saved with what was learned.
        weights = balanced_weights(target) if class_weights == "balanced" else None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, output: Tensor, truth: Batch) -> Tensor:
        """[B] from [B C] logits."""
        loss, leaf = (class_loss, "label") if self.classes else (label_loss, "labels")
        return loss(
            output, truth[leaf], truth["mask"], smoothing=self.smoothing, gamma=self.gamma, weights=self.weights
        )

    def probabilities(self, output: Tensor) -> Tensor:
        """[B C]: of classes, which sum to 1, or of each label for itself."""
        output = wide(output)
        return output.softmax(-1) if self.classes else output.sigmoid()


@contextmanager
def unsmoothed(module: nn.Module) -> Iterator[None]:
    """Inside, losses in a module do not smooth the truth, but where an option asked for it."""
    usual = {part: part.smoothing for part in module.modules() if isinstance(part, CategoryLoss) and not part.asked}
    for part in usual:
        part.smoothing = 0.0
    try:
        yield
    finally:
        for part, smoothing in usual.items():
            part.smoothing = smoothing


class NumberLoss(nn.Module):
    """The loss of numbers, of an output that is standardised by mean and deviation of the training split.

    The truth is read as `standardised`, which is exact; where a batch has only `values`, they are standardised in
    float32.

    Raises:
        ValueError: the target is not a scalar.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, target: Target, *, loss: Literal["mse", "mae", "huber"] = "mse", delta: float = 1.0) -> None:
        super().__init__()
        if target.kind != "scalar":
            raise ValueError(f"this head predicts numbers; the target is of kind {target.kind}")
        self.loss: Literal["mse", "mae", "huber"] = loss
        self.delta = delta
        self.register_buffer("mean", torch.tensor(target.mean or (0.0,) * target.size), persistent=False)
        self.register_buffer("std", torch.tensor(target.std or (1.0,) * target.size), persistent=False)

    def forward(self, output: Tensor, truth: Batch) -> Tensor:
        """[B] from [B C], standardised."""
        values = truth["standardised"] if "standardised" in truth else (truth["values"] - self.mean) / self.std
        return number_loss(output, values, truth["mask"], loss=self.loss, delta=self.delta)

    def values(self, output: Tensor) -> Tensor:
        """[B C] in the user's units, as exact as float32 is."""
        return torch.addcmul(self.mean, wide(output), self.std)

    def prediction(self, output: Tensor) -> Batch:
        """`values` [B C], and the output itself as `standardised` [B C], of which `Numbers` makes exact values."""
        return {"values": self.values(output), "standardised": wide(output)}


def loss_of(target: Target) -> CategoryLoss | NumberLoss:
    """The plain loss of a kind of target: cross-entropy, binary cross-entropy, or squared error.

    Raises:
        ValueError: a kind that is not mmkit's.
    """
    return NumberLoss(target) if target.kind == "scalar" else CategoryLoss(target, label_smoothing=0.0)


def _focus(log_p: Tensor, gamma: float) -> Tensor | float:
    """(1 - p)^gamma; kept off 0, where the power's gradient is infinite for gamma below 1."""
    if gamma == 0:
        return 1.0
    return (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps) ** gamma
