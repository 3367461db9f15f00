"""Convolutional network over a log-mel spectrogram.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017, https://arxiv.org/abs/1609.09430,
which runs image networks over log-mel spectrograms. What differs: three layers are enough to begin with, and time is
kept as tokens.

Axes: B batch, T frames, M mel bands, D width of the features.
"""

from __future__ import annotations

from typing import Annotated, cast

from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.layers.strided import strided
from mmkit.transforms.mel import MelTransform


class MelCnnEncoder(nn.Module):
    """3x3 convolutions with batch normalisation over time and frequency; one token for every `2**layers` frames.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens and of every convolution.
        layers: number of convolutions; each halves time and frequency.
        dropout: rate of dropout before the last linear layer, in training.
    """

    reads = MelTransform

    def __init__(
        self,
        transform: MelTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 3,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width if i else 1, width, 3, stride=2, padding=1, bias=False) for i in range(layers)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for _ in range(layers))
        bands = -(-transform.mels // 2**layers)
        self.out = nn.Linear(width * bands, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B T' D] tokens."""
        mask = batch["mask"]  # [B T]
        x = batch["mel"].unsqueeze(1)  # [B 1 T M]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            # What lies beyond a clip's end must be zero, as if the convolution itself had padded it there.
            x = strided(cast(nn.Conv2d, convolution), x.masked_fill(~mask[:, None, :, None], 0))
            mask = mask[:, ::2]
            x = F.relu(norm(x, mask))
        tokens = self.out(self.dropout(x.transpose(1, 2).flatten(2)))  # [B T' D]
        return Features.of(tokens, mask)
