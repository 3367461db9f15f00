"""Recurrent layers over padded sequences.

Packing needs to know the lengths, which an exported graph does not: there a scan goes over all steps. A row's padding
is at its end, so what is computed of it comes after all that is real, and in the other direction each row is turned
around within its length.

Axes: B batch, T steps, D width, G gates of a cell.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional as F


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
        if torch.compiler.is_exporting():
            return self._scanned(steps, mask)
        # Packing rejects length 0: a missing row runs over one step, which the caller's mask then hides.
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        states = self.cell(packed)[0]
        return nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=steps.shape[1])[0]

    def _scanned(self, steps: Tensor, mask: Tensor) -> Tensor:
        """The same of real steps, as a graph for any length; in evaluation."""
        place = torch.arange(steps.shape[1], device=steps.device)
        turned = mask.sum(1, keepdim=True) - 1 - place  # [B T], where the step at each place goes
        turned = torch.where(turned >= 0, turned, place)
        for layer in range(self.cell.num_layers):
            found = [self._direction(steps, f"l{layer}")]
            if self.cell.bidirectional:
                backward = self._direction(_moved(steps, turned), f"l{layer}_reverse")
                found.append(_moved(backward, turned))
            steps = torch.cat(found, 2)
        return steps

    def _direction(self, steps: Tensor, of: str) -> Tensor:
        """[B T D] of one layer and direction, from steps [B T D']."""
        weights = (self.cell.get_parameter(f"{name}_{of}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        weight_in, weight, bias_in, bias = weights
        seen = F.linear(steps, weight_in, bias_in).transpose(0, 1)  # [T B G*D], of all steps at once
        start = steps.new_zeros(steps.shape[0], weight.shape[1])
        cell: Callable[..., tuple[tuple[Tensor, ...], Tensor]]
        state: tuple[Tensor, ...]
        if isinstance(self.cell, nn.LSTM):
            cell, state = _lstm(weight, bias), (start, start.clone())
        else:
            cell, state = _gru(weight, bias), (start,)
        return scan(cell, state, seen, dim=0)[1].transpose(0, 1)


def _moved(steps: Tensor, place: Tensor) -> Tensor:
    """[B T D], the steps of each row taken from `place` [B T]."""
    return steps.gather(1, place.unsqueeze(2).expand(-1, -1, steps.shape[2]))


def _lstm(weight: Tensor, bias: Tensor) -> Callable[..., tuple[tuple[Tensor, ...], Tensor]]:
    """A step of an LSTM, as `nn.LSTM` documents it: hidden and cell state [B D], and what the input gives [B 4D]."""

    def step(state: tuple[Tensor, Tensor], seen: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        hidden, cell = state
        enter, forget, new, leave = (seen + F.linear(hidden, weight, bias)).chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        return (hidden, cell), hidden.clone()  # what is carried may not be what is given out

    return step


def _gru(weight: Tensor, bias: Tensor) -> Callable[..., tuple[tuple[Tensor, ...], Tensor]]:
    """A step of a GRU, as `nn.GRU` documents it: hidden state [B D], and what the input gives [B 3D]."""

    def step(state: tuple[Tensor], seen: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        (hidden,) = state
        reset_in, update_in, new_in = seen.chunk(3, 1)
        reset, update, new = F.linear(hidden, weight, bias).chunk(3, 1)
        new = (new_in + (reset_in + reset).sigmoid() * new).tanh()
        share = (update_in + update).sigmoid()
        hidden = (1 - share) * new + share * hidden
        return (hidden,), hidden.clone()

    return step
