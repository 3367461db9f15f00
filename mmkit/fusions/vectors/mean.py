"""Mean of one linear projection for each input.

Baltrusaitis, Ahuja and Morency, "Multimodal Machine Learning: A Survey and Taxonomy", TPAMI 2019,
https://arxiv.org/abs/1705.09406, for joint representations of this kind.

Axes: B batch, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.vectors import Projections, one_token


class MeanFusion(nn.Module):
    """Each input has its own linear projection; the mean is taken over the inputs that are present.

    A missing input counts neither in the sum (nor does its bias) nor in the number of inputs that divides it. Where all
    inputs are missing, the result is zero.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.project = Projections(widths, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        total, there = self.project(features)  # [B H], [B M]
        count = len(self.project.inputs) if there is None else there.sum(1, keepdim=True).clamp(min=1)
        return one_token(total / count, features, self.project.inputs)
