"""Low-rank multimodal fusion: the inputs are multiplied, at linear cost.

Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018,
https://arxiv.org/abs/1806.00064.

Axes: B batch, D an input's width, R rank, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.vectors import one_token


class LowRankFusion(nn.Module):
    """Tensor fusion whose weight is a sum of `rank` outer products and is never built.

    A missing input is the vector (0, ..., 0, 1), which leaves the terms of lower order, as in tensor fusion. What
    differs from the paper is the initialisation: the constants have weight 1, and the factors a scale that keeps the
    variance, so that the product of many inputs neither vanishes nor explodes.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        rank: R, the number of factors; the higher it is, the closer to full tensor fusion.
    """

    def __init__(
        self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128, rank: Annotated[int, Gt(0)] = 4
    ) -> None:
        super().__init__()
        self.width = width
        self.rank = rank
        factors = {name: torch.randn(d, rank * width) * d**-0.5 for name, d in widths.items()}
        self.factors = nn.ParameterDict(factors)
        # The row of each factor that meets the 1 at the end of its vector; apart, it is the bias of a matrix product.
        self.constants = nn.ParameterDict({name: torch.ones(rank * width) for name in widths})
        self.mix = nn.Parameter(torch.full((rank, 1), rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        terms = [
            torch.addmm(self.constants[name], features[name].vector(), factor)  # [B R*H]
            for name, factor in self.factors.items()
        ]
        ranks = reduce(torch.mul, terms).view(-1, self.rank, self.width)  # [B R H]
        return one_token((ranks * self.mix).sum(1) + self.bias, features, self.factors)
