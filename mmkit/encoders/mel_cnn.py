"""Convolutional network over a log-mel spectrogram.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017, https://arxiv.org/abs/1609.09430,
which runs image networks over log-mel spectrograms. What differs: three layers are enough to begin with, and time is
kept as tokens.

Axes: B batch, T frames, M mel bands, D width of the features.
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
from mmkit.transforms.mel import MelTransform

State = tuple[Tensor, Tensor]
"""A map and its mask."""


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
        self.inner = (width,) * (layers - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width if i else 1, width, 3, stride=2, padding=1, bias=False) for i in range(layers)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for _ in range(layers))
        bands = -(-transform.mels // 2**layers)
        self.out = nn.Linear(width * bands, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B T' D] tokens."""
        return in_turn(self, batch)

    def begin(self, batch: Batch) -> State:
        """The spectrogram."""
        return batch["mel"].unsqueeze(1), batch["mask"]  # [B 1 T M], [B T]

    def stage(self, number: int, state: State) -> State:
        """One convolution."""
        x, mask = state
        # What lies beyond a clip's end must be zero, as if the convolution itself had padded it there.
        x = strided(cast(nn.Conv2d, self.convolutions[number]), x.masked_fill(~mask[:, None, :, None], 0))
        mask = every(mask, 2)
        return F.relu(self.norms[number](x, mask)), mask

    def get(self, state: State) -> Features:
        """[B T D'], a token a position of the map."""
        return tokens_of(*state)

    def put(self, state: State, features: Features) -> State:
        """The map of these tokens."""
        return map_of(features, state[0]), state[1]

    def finish(self, state: State) -> Features:
        """The last convolution, then a linear layer over width and bands."""
        x, mask = self.stage(len(self.inner), state)
        tokens = self.out(self.dropout(x.transpose(1, 2).flatten(2)))  # [B T' D]
        return Features.of(tokens, mask)
