"""LeNet-5, a convolutional network for small images.

LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 1998,
https://doi.org/10.1109/5.726791. What differs: the borders are padded, so that small images keep their size; maps
larger than 5x5 are pooled to that; every map of the second layer sees all maps of the first; subsampling has no
weights; the last layer is as wide as the option says.

Axes: B batch, C channels, H height, W width, D width of the features.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.encoders.pixels import Normalised
from mmkit.transforms.image import ImageTransform


class LeNetEncoder(nn.Module):
    """Two 5x5 convolutions with subsampling, then two fully connected layers; one token.

    Args:
        transform: the fitted transform.
        width: D, the width of the token.
    """

    reads = ImageTransform

    def __init__(self, transform: ImageTransform, *, width: Annotated[int, Gt(0)] = 64) -> None:
        super().__init__()
        self.width = width
        self.normalised = Normalised(transform)
        self.first = nn.Conv2d(transform.channels, 6, 5, padding=2)
        self.second = nn.Conv2d(6, 16, 5, padding=2)
        height, across = (min(max(size // 4, 1), 5) for size in transform.shape)
        self.map = (height, across)
        self.third = nn.Linear(16 * height * across, 120)
        self.out = nn.Linear(120, width)

    def forward(self, batch: Batch) -> Features:
        """[B 1 D]."""
        x = torch.tanh(self.first(self.normalised(batch)))
        x = torch.tanh(self.second(F.avg_pool2d(x, 2, ceil_mode=True)))
        x = F.adaptive_avg_pool2d(x, self.map)
        x = torch.tanh(self.third(x.flatten(1)))
        return Features.of(torch.tanh(self.out(x)), batch["mask"])
