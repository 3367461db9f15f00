"""Temporal convolutional network: residual blocks of dilated convolutions over time.

Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling",
2018, https://arxiv.org/abs/1803.01271. What differs: convolutions are centred, since whole series are encoded; `causal`
gives the paper's, which see no later step. All blocks have the same width.

Axes: B batch, T steps, C channels, D width of the features, K kernel.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.layers.parts import in_turn, map_of, tokens_of
from mmkit.transforms.series import SeriesTransform, Stepwise

State = tuple[Tensor, Tensor]
"""A map and its mask."""


class TcnEncoder(nn.Module):
    """One token for each step, which sees `(kernel - 1) * (2**layers - 1)` steps before it and as many after it.

    With `causal` a token sees twice as many steps before it, and none after it.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens and of every convolution.
        layers: number of residual blocks, of two convolutions each; block i, counted from 0, has dilation 2**i.
        kernel: number of steps that a convolution reads, `dilation` steps apart; odd unless causal.
        causal: a token depends on its own and earlier steps only, as in the paper.
        dropout: probability that a whole channel is set to zero after a convolution, in training.

    Raises:
        ValueError: an even `kernel` without `causal`.
    """

    reads = SeriesTransform

    def __init__(
        self,
        transform: Stepwise,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 4,
        kernel: Annotated[int, Gt(0)] = 3,
        causal: bool = False,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 and not causal:
            raise ValueError(f"kernel {kernel} is even; take an odd one, so that it has a middle, or causal=true")
        self.width = width
        self.inner = (width,) * (layers - 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(width if i else transform.channels, width, kernel, 2**i, dropout, causal=causal)
            for i in range(layers)
        )

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """The series."""
        return batch["steps"].transpose(1, 2), batch["mask"]  # [B C T], [B T]

    def stage(self, number: int, state: State) -> State:
        """One residual block."""
        x, mask = state
        return self.blocks[number](x, mask), mask

    def get(self, state: State) -> Features:
        """[B T D'], a token a position of the map."""
        return tokens_of(*state)

    def put(self, state: State, features: Features) -> State:
        """The map of these tokens."""
        return map_of(features, state[0]), state[1]

    def finish(self, state: State) -> Features:
        """The last block."""
        x, mask = self.stage(len(self.inner), state)
        return Features.of(x.transpose(1, 2), mask)


class ResidualBlock(nn.Module):
    """Two dilated convolutions, each with ReLU and dropout, beside a shortcut; ReLU of their sum.

    Args:
        inner: channels of the input.
        outer: channels of the result; where they differ, the shortcut is a convolution of one step.
        kernel: K.
        dilation: steps between those that a convolution reads.
        dropout: of whole channels, after each convolution.
        causal: read no later step.
    """

    def __init__(self, inner: int, outer: int, kernel: int, dilation: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self.first = WeightNormConv(inner, outer, kernel, dilation, causal=causal)
        self.second = WeightNormConv(outer, outer, kernel, dilation, causal=causal)
        self.dropout = nn.Dropout1d(dropout)
        self.shortcut = nn.Conv1d(inner, outer, 1) if inner != outer else None

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """[B outer T] from values [B inner T]; what stands under a False mask [B T] is not read."""
        there = mask.unsqueeze(1)
        # What lies beyond a series' end must be zero, as if the convolution itself had padded it there.
        values = values.masked_fill(~there, 0)
        x = self.dropout(F.relu(self.first(values)))
        x = self.dropout(F.relu(self.second(x.masked_fill(~there, 0))))
        return F.relu(x + (values if self.shortcut is None else self.shortcut(values)))


class WeightNormConv(nn.Module):
    """A dilated convolution that keeps the length T; its weight is learned as a direction and a length.

    Salimans and Kingma, "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
    Networks", NeurIPS 2016, https://arxiv.org/abs/1602.07868. It computes what torch's `weight_norm` does, and unlike a
    parametrised module it can be pickled.

    Args:
        inner: channels of the input.
        outer: channels of the result.
        kernel: K.
        dilation: steps between those that it reads.
        causal: all padding stands before the first step.
    """

    def __init__(self, inner: int, outer: int, kernel: int, dilation: int, *, causal: bool) -> None:
        super().__init__()
        self.dilation = dilation
        reach = (kernel - 1) * dilation
        self.padding = (reach, 0) if causal else (reach // 2, reach // 2)
        start = nn.Conv1d(inner, outer, kernel)
        self.direction = nn.Parameter(start.weight.detach())  # [outer inner K]
        self.length = nn.Parameter(self.direction.detach().norm(dim=(1, 2)))  # [outer]
        self.bias = start.bias

    def forward(self, values: Tensor) -> Tensor:
        """[B outer T] from values [B inner T]."""
        scale = self.length / self.direction.norm(dim=(1, 2))
        return F.conv1d(
            F.pad(values, self.padding), self.direction * scale[:, None, None], self.bias, dilation=self.dilation
        )
