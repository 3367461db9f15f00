"""The first vector scaled and shifted by what all say, then a linear layer. Behind the encoders alone."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.inner.daft import DaftFusion

WHY = "where the anchor may be missing, a second linear layer of all other inputs stands in for it"


def obvious(fusion: DaftFusion, vectors: list[Tensor]) -> Tensor:
    gamma, beta = fusion.excite(torch.relu(fusion.squeeze(torch.cat(vectors, 1)))).chunk(2, 1)
    return fusion.mix((1 + gamma) * vectors[0] + beta)
