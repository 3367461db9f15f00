"""Small convolutional network for images.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
https://arxiv.org/abs/1409.1556. What differs: a much shallower stack, with batch normalisation, and with the positions
of the last feature map as tokens instead of fully connected layers.

Axes: B batch, C channels, H height, W width, D width of the features.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.encoders.pixels import Normalised
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.layers.parts import in_turn, map_of, tokens_of
from mmkit.transforms.image import ImageTransform

State = tuple[Tensor, Tensor]
"""A map and its mask."""


class CnnEncoder(nn.Module):
    """3x3 convolutions with batch normalisation; a grid of the last feature map gives the tokens.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens and of every convolution.
        layers: number of convolutions; each but the first halves the feature map, while the map has at least twice the
            size of the grid.
        grid: height and width of the grid of tokens.
        dropout: rate of dropout on the tokens, in training.
    """

    reads = ImageTransform

    def __init__(
        self,
        transform: ImageTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 3,
        grid: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.inner = (width,) * (layers - 1)
        self.grid = grid
        self.normalised = Normalised(transform)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width if i else transform.channels, width, 3, padding=1, bias=False) for i in range(layers)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B grid*grid D] tokens, row by row of the grid."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """The pixels."""
        return self.normalised(batch), batch["mask"]  # [B C H W]

    def stage(self, number: int, state: State) -> State:
        """One convolution."""
        x, mask = state
        if number and min(x.shape[2:]) >= 2 * self.grid:
            x = F.max_pool2d(x, 2)
        return F.relu(self.norms[number](self.convolutions[number](x), mask)), mask

    def get(self, state: State) -> Features:
        """[B T D'], a token a position of the map."""
        return tokens_of(*state)

    def put(self, state: State, features: Features) -> State:
        """The map of these tokens."""
        return map_of(features, state[0]), state[1]

    def finish(self, state: State) -> Features:
        """The last convolution, then the grid."""
        x, mask = self.stage(len(self.inner), state)
        if x.shape[2:] != (self.grid, self.grid):
            x = F.adaptive_avg_pool2d(x, self.grid)
        tokens = self.dropout(x.flatten(2).transpose(1, 2))
        return Features.of(tokens, mask.unsqueeze(1).expand(-1, self.grid**2))
