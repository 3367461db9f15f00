"""LSTM or GRU over the steps of a series.

Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997,
https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for
Statistical Machine Translation", EMNLP 2014, https://arxiv.org/abs/1406.1078.

Axes: B batch, T steps, C channels, D width of the features.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Batch, Features
from mmkit.layers.recurrent import Recurrent
from mmkit.transforms.series import SeriesTransform, Stepwise


class SeriesRnnEncoder(nn.Module):
    """One token for each step.

    Args:
        transform: the fitted transform.
        width: D, the width of the tokens.
        cell: kind of recurrent cell.
        layers: number of recurrent layers.
        bidirectional: read in both directions; each has half of the width.
        dropout: rate of dropout on the tokens and between layers, in training.
    """

    reads = SeriesTransform

    def __init__(
        self,
        transform: Stepwise,
        *,
        width: Annotated[int, Gt(0)] = 64,
        cell: Literal["lstm", "gru"] = "lstm",
        layers: Annotated[int, Gt(0)] = 1,
        bidirectional: bool = True,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.recurrent = Recurrent(
            transform.channels, width, cell=cell, layers=layers, bidirectional=bidirectional, dropout=dropout
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens."""
        mask = batch["mask"]  # [B T]
        steps = batch["steps"].masked_fill(~mask.unsqueeze(2), 0)
        return Features.of(self.dropout(self.recurrent(steps, mask)), mask)
