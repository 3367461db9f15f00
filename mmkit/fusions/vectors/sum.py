"""Sum of one linear projection for each input.

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


class SumFusion(nn.Module):
    """Each input has its own linear projection; the projections are added.

    A missing input adds zero: neither its columns of the weight nor its bias. Where all inputs are missing, the result
    is zero.

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
        return one_token(self.project(features)[0], features, self.project.inputs)
