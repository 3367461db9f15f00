"""Mean: the projected vectors of the inputs that are there, averaged.

Baltrusaitis, Ahuja and Morency, "Multimodal Machine Learning: A Survey and Taxonomy", TPAMI 2019,
https://arxiv.org/abs/1705.09406, for joint representations of this kind.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features


class MeanFusion(nn.Module):
    """Average of one linear projection an input, over the inputs that are there.

    A missing input counts neither in the sum, its bias included, nor in the number that divides it. Where all are
    missing the mean is zero.

    Args:
        widths: D of each input, by name.
        width: H.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        present = torch.stack([features[name].present() for name in self.project], 1)  # [B M]
        projected = torch.stack([linear(features[name].vector()) for name, linear in self.project.items()], 1)  # B M H
        total = projected.masked_fill(~present.unsqueeze(-1), 0).sum(1)
        return Features.of(total / present.sum(1, keepdim=True).clamp(min=1))
