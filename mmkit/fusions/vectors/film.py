"""Feature-wise linear modulation: all other inputs scale and shift the features of one, the anchor.

Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, https://arxiv.org/abs/1709.07871.
What differs: the paper modulates feature maps inside a network by one condition; here one vector is modulated, by the
join of all other inputs, and at the start not at all, so that training begins with the projection of the anchor.

Axes: B batch, D an input's width, H fused width; x_a the anchor.

    y = (1 + gamma) * (W x_a + b) + beta   [B H],   [gamma; beta] = G [x_m, m != a] + g   [B 2H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.others import Others
from mmkit.layers.vectors import one_token, projected


class FilmFusion(nn.Module):
    """The anchor's projection, scaled and shifted feature by feature by what the other inputs say.

    A missing input adds nothing to scale and shift. Where the anchor is missing the shift alone is left; where all are
    missing, the constant of the shift.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        anchor: name of the input that is modulated; none is the first by name.

    Raises:
        ValueError: one input, or `anchor` is no input.
    """

    def __init__(
        self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128, anchor: str | None = None
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.others = Others(widths, anchor)
        self.project = nn.ModuleDict({self.others.anchor: nn.Linear(widths[self.others.anchor], width)})
        self.modulate = nn.Linear(self.others.width, 2 * width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        (anchor,) = projected(features, self.project, 0.0)  # [B H], zero where the anchor is missing
        gamma, beta = self.modulate(self.others(features)).chunk(2, 1)  # [B H] each
        return one_token(torch.addcmul(anchor + beta, gamma, anchor), features, self.inputs)
