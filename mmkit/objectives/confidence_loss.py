"""Confidence loss: the confidence that an input predicts is the probability that its head gives to the truth.

Cao et al., "Predictive Dynamic Fusion", ICML 2024, https://arxiv.org/abs/2406.04802. What differs: labels, of which the
mean is taken; missing inputs have no loss.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target


class ConfidenceLossObjective(nn.Module):
    """The sum over the inputs that are there of |c_m - p_m|, p_m the probability of the truth, without gradient.

    It reads the details `confidence.INPUT` of the fused features, as the fusion `confidence` gives them.

    Args:
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: the target is neither classes nor labels.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        weight: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels"}:
            raise ValueError(f"confidences are of classes or labels; the target is {target.kind!r}")
        self.inputs = tuple(widths)
        self.classes = target.kind == "classes"
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        known = truth["mask"]
        total = torch.zeros_like(model_output.output[:, 0])
        for name in self.inputs:
            told = model_output.fused.details[f"confidence.{name}"]
            off = (told - self._of_truth(model_output.unimodal[name].detach(), truth)).abs()
            off = off if self.classes else off.mean(1)
            total = total + torch.where(known & model_output.shown(name), off, 0)
        return self.weight * total

    def _of_truth(self, output: Tensor, truth: Batch) -> Tensor:
        """The probability of the true class [B], or of what is true of each label [B C]."""
        if self.classes:
            label = torch.where(truth["mask"], truth["label"], 0)
            return output.softmax(1).gather(1, label.unsqueeze(1)).squeeze(1)
        yes = torch.where(truth["mask"].unsqueeze(1), truth["labels"], 0).to(output.dtype)
        return yes * output.sigmoid() + (1 - yes) * (-output).sigmoid()
