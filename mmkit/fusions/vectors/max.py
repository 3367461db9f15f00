"""Elementwise maximum of one linear projection for each input.

Su, Maji, Kalogerakis and Learned-Miller, "Multi-view Convolutional Neural Networks for 3D Shape Recognition", ICCV
2015, https://arxiv.org/abs/1505.00880, which takes the maximum over views of an object. What differs: inputs of
different kinds are projected first.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.vectors import one_token, projected, there


class MaxFusion(nn.Module):
    """Each input has its own linear projection; the maximum is taken over the inputs that are present.

    A missing input counts as -inf. Where all inputs are missing, the result is zero.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]; its mask is False where all inputs are missing."""
        for name in self.project:
            if features[name].complete:  # then no row is without an input
                return one_token(self._largest(features, -torch.inf), features, self.project)
        some = reduce(torch.logical_or, [there(features[name]) for name in self.project])  # [B 1]
        neutral = torch.where(some, -torch.inf, 0.0).to(features[name].tokens.dtype)  # [B 1]
        return Features(self._largest(features, neutral).unsqueeze(1), some)

    def _largest(self, features: Mapping[str, Features], neutral: float | Tensor) -> Tensor:
        return reduce(torch.maximum, projected(features, self.project, neutral))
