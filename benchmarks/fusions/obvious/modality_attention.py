"""A softmax over one linear layer of the joined vectors, and the weighted sum of the stacked projections."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.modality_attention import ModalityAttentionFusion

WHY = "the softmax over inputs is masked"


def obvious(fusion: ModalityAttentionFusion, vectors: list[Tensor]) -> Tensor:
    weights = fusion.score.linear(torch.cat(vectors, 1)).softmax(1)
    return (weights.unsqueeze(2) * torch.stack(projected(fusion, vectors), 1)).sum(1)
