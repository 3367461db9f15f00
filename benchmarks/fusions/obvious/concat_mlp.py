"""A linear layer and a layer norm for each input, and a hidden layer over the join."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.concat_mlp import ConcatMlpFusion

WHY = "the join is masked behind its norms"


def obvious(fusion: ConcatMlpFusion, vectors: list[Tensor]) -> Tensor:
    normed = [norm(part) for norm, part in zip(fusion.norm.values(), projected(fusion, vectors), strict=True)]
    return F.leaky_relu(fusion.mix(torch.cat(normed, 1)))
