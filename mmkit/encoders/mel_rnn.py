"""LSTM or GRU over a log-mel spectrogram.

Graves, Mohamed and Hinton, "Speech Recognition with Deep Recurrent Neural Networks", ICASSP 2013,
https://arxiv.org/abs/1303.5778; Sak et al., "Fast and Accurate Recurrent Neural Network Acoustic Models for Speech
Recognition", Interspeech 2015, https://arxiv.org/abs/1507.06947: recurrent networks over filter-bank frames are from
the first, reading several neighbouring frames as one step is from the second.

Axes: B batch, T frames, M mel bands, D width of the features.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features
from mmkit.layers.recurrent import Recurrent
from mmkit.layers.strided import every
from mmkit.transforms.mel import MelTransform


class MelRnnEncoder(nn.Module):
    """One token for every `stack` frames.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens.
        cell: kind of recurrent cell.
        layers: number of recurrent layers.
        bidirectional: read in both directions; each has half of the width.
        stack: number of neighbouring frames that are read as one step.
        dropout: rate of dropout on the tokens and between layers, in training.
    """

    reads = MelTransform

    def __init__(
        self,
        transform: MelTransform,
        *,
        width: Annotated[int, Gt(0)] = 64,
        cell: Literal["lstm", "gru"] = "lstm",
        layers: Annotated[int, Gt(0)] = 1,
        bidirectional: bool = True,
        stack: Annotated[int, Gt(0)] = 3,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.stack = stack
        self.recurrent = Recurrent(
            transform.mels * stack, width, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B T' D] tokens."""
        mask = batch["mask"]  # [B T]
        frames = batch["mel"].masked_fill(~mask.unsqueeze(2), 0)  # [B T M]
        frames = F.pad(frames, (0, 0, 0, -frames.shape[1] % self.stack))
        steps = frames.reshape(frames.shape[0], -1, self.stack * frames.shape[2])  # [B T' stack*M]
        mask = every(mask, self.stack)
        return Features.of(self.dropout(self.recurrent(steps, mask)), mask)
