"""Recurrent layers over padded sequences.

Axes: B batch, T steps, D width.
"""

from __future__ import annotations

from torch import Tensor, nn


class Recurrent(nn.Module):
    """LSTM or GRU over padded sequences. Padding must be at the end of each row.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997, https://doi.org/10.1162/neco.1997.9.8.1735;
    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014, https://arxiv.org/abs/1406.1078.

    Args:
        size: width of a step of the input.
        width: D of a step of the result; must be even if bidirectional.
        cell: "lstm" or "gru".
        layers: number of stacked layers.
        bidirectional: run in both directions, each with half of the width.
        dropout: between layers, in training.
    """

    def __init__(self, size: int, width: int, *, cell: str, layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        if bidirectional and width % 2:
            raise ValueError(f"a bidirectional network needs an even width; got {width}")
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.cell = kind(
            size,
            width // 2 if bidirectional else width,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """[B T D] from steps [B T size]; steps whose `mask` [B T] is False are not read."""
        # Packing rejects length 0: a missing row runs over one step, which the caller's mask then hides.
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        states = self.cell(packed)[0]
        return nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=steps.shape[1])[0]
