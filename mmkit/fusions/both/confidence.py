"""Confidence-weighted fusion (PDF): each input predicts how sure it may be, and counts by that.

Cao et al., "Predictive Dynamic Fusion", ICML 2024, https://arxiv.org/abs/2406.04802. What differs: any number of
inputs, also in the calibration, which compares each input with the one whose prediction is farthest from uniform;
labels, each with confidences of its own; a relu between the two layers that predict a confidence, where the authors'
code has three layers and nothing between them; missing inputs.

Axes: B batch, D an input's width, M inputs, H width between, C size of the target; K 1 for classes, C for labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features, Target
from mmkit.layers.chosen import masked
from mmkit.layers.present_softmax import present_softmax
from mmkit.layers.vectors import complete, one_token, present, weighed


class ConfidenceFusion(nn.Module):
    """Weighted sum of the logits of all inputs' heads.

    The weights are a softmax over the inputs that are there of c_m + h_m: c_m, from 0 to 1, is what input m predicts as
    the probability that its head will give to the truth; h_m is the share of the other inputs in all that is uncertain,
    sum_{j != m} log c_j / sum_j log c_j. No gradient passes through the weights, nor from c_m to the features: the
    companion alone trains what predicts c_m. Where all inputs are missing, all classes are equally likely and every
    label has probability 0.5.

    Args:
        widths: D of each input, by name.
        target: what is predicted; classes or labels.
        hidden: H, of what predicts a confidence.
        calibrate: whether in evaluation c_m + h_m is less for an input whose prediction is nearer to uniform than the
            farthest of all.

    Raises:
        ValueError: the target is neither classes nor labels.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        target: Target,
        *,
        hidden: Annotated[int, Gt(0)] = 128,
        calibrate: bool = True,
    ) -> None:
        super().__init__()
        if target.kind not in {"classes", "labels"}:
            raise ValueError(
                f"confidences are probabilities of the true class or label; the target is {target.kind!r}: take late"
            )
        self.width = target.size
        self.inputs = tuple(widths)
        self.classes = target.kind == "classes"
        self.calibrate = calibrate
        size = 1 if self.classes else target.size
        self.predictors = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, size))
                for name, d in widths.items()
            }
        )

    def forward(self, features: Mapping[str, Features], outputs: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model; the details `confidence.INPUT` [B] for classes, [B C] for labels.

        They are zero where the input is missing.
        """
        scores = [self.predictors[name](features[name].vector().detach()) for name in self.inputs]
        score = torch.stack(scores, 1)  # [B M K]
        alone = [outputs[name].vector() for name in self.inputs]  # [B C] each
        confidence = score.sigmoid()
        flags = None if complete(outputs, self.inputs) else present(outputs, self.inputs).unsqueeze(2)  # [B M 1]
        with torch.no_grad():
            weights = self._weights(score, confidence, alone, flags)
        fused = one_token(weighed(alone, weights.unbind(1)), outputs, self.inputs)
        confidence = confidence if flags is None else masked(confidence, flags)
        of_inputs = (confidence.squeeze(2) if self.classes else confidence).unbind(1)
        return replace(fused, details={f"confidence.{n}": c for n, c in zip(self.inputs, of_inputs, strict=True)})

    def _weights(self, score: Tensor, confidence: Tensor, alone: Sequence[Tensor], flags: Tensor | None) -> Tensor:
        """[B M K], zero where the input is missing; `flags` [B M 1] None says that none is."""
        logarithm = F.logsigmoid(score)
        if flags is not None:
            logarithm = masked(logarithm, flags)
        total = logarithm.sum(1, keepdim=True)
        sure = confidence + (total - logarithm) / total.clamp(max=-1e-6)
        if self.calibrate and not self.training:
            sure = sure * self._calibration(alone, flags)
        return present_softmax(sure, None if flags is None else flags.squeeze(2))

    def _calibration(self, alone: Sequence[Tensor], flags: Tensor | None) -> Tensor:
        """[B M K], from 0 to 1: how far from uniform an input's prediction is, by the farthest of all."""
        if self.classes:
            apart = [(output.softmax(1) - 1 / self.width).abs().mean(1, keepdim=True) for output in alone]
        else:
            apart = [(output.sigmoid() - 0.5).abs() for output in alone]
        far = torch.stack(apart, 1)
        far = far if flags is None else masked(far, flags)
        return far / far.amax(1, keepdim=True).clamp(min=1e-6)
