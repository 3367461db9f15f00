"""Fully convolutional network over time, with batch normalisation.

Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong Baseline", IJCNN 2017,
https://arxiv.org/abs/1611.06455. What differs: every convolution has the same width and kernel, all but the first have
a stride, and the steps of the last one are the tokens instead of being averaged.

Axes: B batch, T steps, T' tokens, C channels, D width of the features.
"""

from __future__ import annotations

from typing import Annotated, cast

from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.layers.strided import strided
from mmkit.transforms.series import SeriesTransform, Stepwise


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
        self.stride = stride
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width if i else transform.channels, width, kernel, stride if i else 1, kernel // 2, bias=False)
            for i in range(layers)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B T' D] tokens."""
        mask = batch["mask"]  # [B T]
        x = batch["steps"].transpose(1, 2)  # [B C T]
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            # What lies beyond a series' end must be zero, as if the convolution itself had padded it there.
            x = strided(cast(nn.Conv1d, convolution), x.masked_fill(~mask.unsqueeze(1), 0))
            if i:
                mask = mask[:, :: self.stride]
            x = F.relu(norm(x, mask))
        return Features.of(self.dropout(x.transpose(1, 2)), mask)
