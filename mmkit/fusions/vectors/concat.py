"""Concatenation of the inputs' vectors, then one linear layer.

Ngiam et al., "Multimodal Deep Learning", ICML 2011, https://icml.cc/2011/papers/399_icmlpaper.pdf, for the shared
representation over concatenated modalities.

Axes: B batch, D an input's width, H fused width.

>>> import torch
>>> fusion = ConcatFusion({"image": 512, "title": 256}, width=64)
>>> fusion({"image": Features.of(torch.rand(8, 49, 512)), "title": Features.of(torch.rand(8, 256))}).tokens.shape
torch.Size([8, 1, 64])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.vectors import joined, one_token


class ConcatFusion(nn.Module):
    """One linear layer over the concatenation.

    A missing input is a vector of zeros, so its columns of the weight add nothing. The layer has one bias, which does
    not depend on what is missing.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.mix = nn.Linear(sum(widths.values()), width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        return one_token(self.mix(joined(features, self.inputs)), features, self.inputs)
