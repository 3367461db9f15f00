"""Fully convolutional network over time, with batch normalisation.

Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong Baseline", IJCNN 2017,
https://arxiv.org/abs/1611.06455. What differs: every convolution has the same width and kernel, all but the first have
a stride, and the steps of the last one are the tokens instead of being averaged.

Axes: B batch, T steps, T' tokens, C channels, D width of the features.
"""

from __future__ import annotations

from typing import Annotated, cast

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.layers.parts import in_turn, map_of, tokens_of
from mmkit.layers.strided import every, strided
from mmkit.transforms.series import SeriesTransform, Stepwise

State = tuple[Tensor, Tensor]
"""A map and its mask."""


class FcnEncoder(nn.Module):
    """One token for every `stride**(layers - 1)` steps.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens and of every convolution.
        layers: number of convolutions.
        kernel: number of steps that a convolution reads; odd.
        stride: stride of every convolution but the first.
        dropout: rate of dropout on the tokens, in training.

    Raises:
        ValueError: `kernel` is even.
    """

    reads = SeriesTransform

    def __init__(
        self,
        transform: Stepwise,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 3,
        kernel: Annotated[int, Gt(0)] = 5,
        stride: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even; take an odd one, so that it has a middle")
        self.width = width
        self.inner = (width,) * (layers - 1)
        self.stride = stride
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width if i else transform.channels, width, kernel, stride if i else 1, kernel // 2, bias=False)
            for i in range(layers)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B T' D] tokens."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """The series."""
        return batch["steps"].transpose(1, 2), batch["mask"]  # [B C T], [B T]

    def stage(self, number: int, state: State) -> State:
        """One convolution."""
        x, mask = state
        # What lies beyond a series' end must be zero, as if the convolution itself had padded it there.
        x = strided(cast(nn.Conv1d, self.convolutions[number]), x.masked_fill(~mask.unsqueeze(1), 0))
        if number:
            mask = every(mask, self.stride)
        return F.relu(self.norms[number](x, mask)), mask

    def get(self, state: State) -> Features:
        """[B T D'], a token a position of the map."""
        return tokens_of(*state)

    def put(self, state: State, features: Features) -> State:
        """The map of these tokens."""
        return map_of(features, state[0]), state[1]

    def finish(self, state: State) -> Features:
        """The last convolution."""
        x, mask = self.stage(len(self.inner), state)
        return Features.of(self.dropout(x.transpose(1, 2)), mask)
