"""A factor for each input and rank, their product summed over the ranks."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from mmkit.fusions.vectors.low_rank import LowRankFusion


def obvious(fusion: LowRankFusion, vectors: list[Tensor]) -> Tensor:
    factors = zip(fusion.constants.values(), vectors, fusion.factors.values(), strict=True)
    ranks = reduce(torch.mul, [torch.addmm(constant, vector, factor) for constant, vector, factor in factors])
    return (fusion.mix * ranks.view(-1, fusion.rank, fusion.width)).sum(1) + fusion.bias
