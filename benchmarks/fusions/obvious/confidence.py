"""The softmax over stacked confidences, and the sum over stacked logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.fusions.both.confidence import ConfidenceFusion

WHY = "confidences keep a graph for the objective that teaches them"


def obvious(fusion: ConfidenceFusion, vectors: list[Tensor], outputs: list[Tensor]) -> Tensor:
    predictors = fusion.predictors.values()
    score = torch.stack([p(v.detach()) for p, v in zip(predictors, vectors, strict=True)], 1)  # [B M 1]
    alone = torch.stack(outputs, 1)  # [B M C]
    with torch.no_grad():
        logarithm = F.logsigmoid(score)
        total = logarithm.sum(1, keepdim=True)
        far = (alone.softmax(2) - 1 / fusion.width).abs().mean(2, keepdim=True)
        sure = (score.sigmoid() + (total - logarithm) / total) * (far / far.amax(1, keepdim=True))
    return (sure.softmax(1) * alone).sum(1)
