"""Mean of one linear projection for each input.

Baltrusaitis, Ahuja and Morency, "Multimodal Machine Learning: A Survey and Taxonomy", TPAMI 2019,
https://arxiv.org/abs/1705.09406, for joint representations of this kind.

Axes: B batch, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features


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
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        present = [features[name].present().unsqueeze(1) for name in self.project]  # [B 1] each
        terms = [
            linear(features[name].vector()).masked_fill(~there, 0)
            for (name, linear), there in zip(self.project.items(), present, strict=True)
        ]
        count = torch.cat(present, 1).sum(1, keepdim=True)
        return Features.of(reduce(torch.add, terms) / count.clamp(min=1))
