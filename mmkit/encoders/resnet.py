"""Small residual network for images, trained from scratch.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385: the three-stage
network for small images, with batch normalisation as there. What differs: the last stage has the width asked for, a
shortcut that changes the width is a 1x1 convolution, and the positions of the last feature map are the tokens instead
of one average.

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


class ResNetEncoder(nn.Module):
    """A 3x3 convolution, then three stages of residual blocks; a grid of the last feature map gives the tokens.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens; the three stages have a quarter, a half and all of it.
        layers: residual blocks of each stage, of two convolutions each.
        grid: height and width of the grid of tokens; the second and third stage halve the feature map, while the map
            has at least twice the size of the grid.
        dropout: rate of dropout on the tokens, in training.

    Raises:
        ValueError: `width` is not divisible by 4.
    """

    reads = ImageTransform

    def __init__(
        self,
        transform: ImageTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 1,
        grid: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width {width} is not divisible by 4, which the three stages need; take one that is")
        self.width = width
        self.inner = (width // 4, width // 2)
        self.layers = layers
        self.grid = grid
        self.normalised = Normalised(transform)
        self.stem = nn.Conv2d(transform.channels, width // 4, 3, padding=1, bias=False)
        self.norm = MaskedBatchNorm(width // 4)
        self.blocks = nn.ModuleList()
        inner, side = width // 4, min(transform.shape)
        for stage in range(3):
            for block in range(layers):
                halves = stage > 0 and block == 0 and side >= 2 * grid
                side = -(-side // 2) if halves else side
                outer = width // 4 * 2**stage
                self.blocks.append(ResidualBlock(inner, outer, stride=2 if halves else 1))
                inner = outer
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B grid*grid D] tokens, row by row of the grid."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """The first convolution."""
        mask = batch["mask"]
        return F.relu(self.norm(self.stem(self.normalised(batch)), mask)), mask  # [B D/4 H W]

    def stage(self, number: int, state: State) -> State:
        """One stage of residual blocks."""
        x, mask = state
        for place in range(number * self.layers, (number + 1) * self.layers):
            x = self.blocks[place](x, mask)
        return x, mask

    def get(self, state: State) -> Features:
        """[B T D'], a token a position of the map."""
        return tokens_of(*state)

    def put(self, state: State, features: Features) -> State:
        """The map of these tokens."""
        return map_of(features, state[0]), state[1]

    def finish(self, state: State) -> Features:
        """The last stage, then the grid."""
        x, mask = self.stage(len(self.inner), state)
        x = F.adaptive_avg_pool2d(x, self.grid)
        tokens = self.dropout(x.flatten(2).transpose(1, 2))
        return Features.of(tokens, mask.unsqueeze(1).expand(-1, self.grid**2))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        inner: channels of the input.
        outer: channels of the result.
        stride: of the first convolution, and of the shortcut.
    """

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.first_norm = MaskedBatchNorm(outer)
        self.second = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.second_norm = MaskedBatchNorm(outer)
        changes = stride != 1 or inner != outer
        self.shortcut = nn.Conv2d(inner, outer, 1, stride, bias=False) if changes else None
        self.shortcut_norm = MaskedBatchNorm(outer) if changes else None

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B outer H' W'] from values [B inner H W] and `mask` [B]."""
        x = F.relu(self.first_norm(self.first(values), mask))
        x = self.second_norm(self.second(x), mask)
        if self.shortcut is not None and self.shortcut_norm is not None:
            values = self.shortcut_norm(self.shortcut(values), mask)
        return F.relu(x + values)
