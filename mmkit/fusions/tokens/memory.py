"""Memory fusion network: an LSTM for each input, step by step, and a memory of what changes across them.

Zadeh, Liang, Mazumder, Poria, Cambria and Morency, "Memory Fusion Network for Multi-view Sequential Learning", AAAI
2018, https://arxiv.org/abs/1802.00927. A port of the authors' code was read (thuiar/MMSA, models/singleTask/MFN.py).
What differs:

- Any number of inputs, of any number of steps; there three, aligned word by word.
- A step that an input does not have leaves its states as they are, and one that none has the memory. There every step
  is taken, and the last one read, which may be padding.
- States have 32 numbers, memory and networks 64, and dropout is one option, which suit small data; there they are
  searched, up to 400. One linear layer makes the result.

Axes: B batch, M inputs, T steps, D an input's width, N states of an LSTM, K width of the memory, H fused width.

    h_mt, c_mt = LSTM_m(x_mt, h_m(t-1), c_m(t-1))
    a_t = softmax(F [c_(t-1); c_t]) * [c_(t-1); c_t]    p_t = tanh(P a_t)       c_t = [c_1t; ...; c_Mt]
    u_t = s(R [a_t; u_(t-1)]) * u_(t-1) + s(Q [a_t; u_(t-1)]) * p_t             y = W [h_1T; ...; h_MT; u_T] + b

F, P, R and Q are networks of two layers, and the softmax is over all numbers of the states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.chosen import chosen
from mmkit.layers.vectors import one_token, present


class MemoryFusion(nn.Module):
    """A memory that reads, at each step, which numbers of the LSTMs' states changed together.

    Tokens at the same place are of the same time. An input with fewer tokens keeps its last state while the others go
    on; one that is missing has states of zero, and no share in the softmax. Where all inputs are missing, the result
    is the last bias. Steps are taken one after the other, so long inputs take long.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        hidden: N, states of each input's LSTM.
        memory: K, width of the memory.
        inner: hidden width of the networks around the memory.
        dropout: rate of dropout within these networks, in training.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        hidden: Annotated[int, Gt(0)] = 32,
        memory: Annotated[int, Gt(0)] = 64,
        inner: Annotated[int, Gt(0)] = 64,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.2,
    ) -> None:
        super().__init__()
        self.width = width
        self.hidden = hidden
        self.memory = memory
        self.dropout = dropout
        self.project = nn.ModuleDict({name: nn.Linear(d, 4 * hidden) for name, d in widths.items()})
        bound = hidden**-0.5
        recur = {name: torch.empty(hidden, 4 * hidden).uniform_(-bound, bound) for name in widths}
        self.recur = nn.ParameterDict({name: nn.Parameter(weight) for name, weight in recur.items()})
        both = 2 * len(widths) * hidden
        self.attend = self._network(both, inner, both)
        self.propose = self._network(both, inner, memory)
        self.gates = nn.Linear(both + memory, 2 * inner)  # the first layers of what keeps and of what takes
        self.keep = nn.Linear(inner, memory)
        self.take = nn.Linear(inner, memory)
        self.mix = nn.Linear(len(widths) * hidden + memory, width)

    def _network(self, width: int, inner: int, out: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(inner, out))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        steps = max(features[name].mask.shape[1] for name in self.project)
        given = [_longer(linear(features[name].tokens), steps) for name, linear in self.project.items()]
        real = torch.stack(
            [F.pad(features[name].mask, (0, steps - features[name].mask.shape[1])) for name in self.recur]
        )
        last, cells = self._states(torch.stack(given), real)  # [B M*N], [B T+1 M*N]
        changes = torch.cat([cells[:, :-1], cells[:, 1:]], 2)  # [B T 2*M*N]
        there = present(features, self.project).repeat_interleave(self.hidden, 1).repeat(1, 2).unsqueeze(1)
        scores = self.attend(changes)
        attended = scores.masked_fill(~there, torch.finfo(scores.dtype).min).softmax(2) * changes
        fused = self.mix(torch.cat([last, self._remembered(attended, real.any(0))], 1))
        return one_token(fused, features, self.project)

    def _states(self, given: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Of all LSTMs side by side the last h [B M*N], and c before the first and after each step [B T+1 M*N].

        Args:
            given: what the inputs give to the gates, [M B T 4N].
            real: [M B T] bool.
        """
        recur = torch.stack(list(self.recur.values()))  # [M N 4N]
        state = cell = given.new_zeros(*given.shape[:2], self.hidden)  # [M B N]
        cells = [cell]
        for step, here in zip(given.unbind(2), real.unsqueeze(3).unbind(2), strict=True):
            read, kept, shown, new = (step + state @ recur).chunk(4, 2)
            after = kept.sigmoid() * cell + read.sigmoid() * new.tanh()
            state = chosen(shown.sigmoid() * after.tanh(), here, state)
            cell = chosen(after, here, cell)
            cells.append(cell)
        return state.transpose(0, 1).flatten(1), torch.stack(cells, 2).permute(1, 2, 0, 3).flatten(2)

    def _remembered(self, attended: Tensor, real: Tensor) -> Tensor:
        """[B K], the memory after the last step, from [B T 2*M*N] and [B T] bool."""
        seen, back = self.gates.weight.split([attended.shape[2], self.memory], 1)
        proposals = self.propose(attended).tanh()  # [B T K]
        read = F.linear(attended, seen, self.gates.bias)  # [B T 2*inner]
        memory = proposals.new_zeros(proposals.shape[0], self.memory)
        for step, proposal, here in zip(read.unbind(1), proposals.unbind(1), real.unsqueeze(2).unbind(1), strict=True):
            inner = F.dropout((step + memory @ back.T).relu(), self.dropout, self.training)
            first, second = inner.chunk(2, 1)
            after = self.keep(first).sigmoid() * memory + self.take(second).sigmoid() * proposal
            memory = chosen(after, here, memory)
        return memory

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That inputs have unequal numbers of tokens, where they have."""
        sizes = {name: features[name].mask.shape[1] for name in self.project}
        if len(set(sizes.values())) == 1:
            return []
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        return [f"memory takes tokens at the same place for simultaneous, and inputs have unequal numbers: {shown}"]


def _longer(values: Tensor, steps: int) -> Tensor:
    """[B T ...] with zeros behind, so that T is `steps`."""
    return F.pad(values, (0, 0, 0, steps - values.shape[1]))
