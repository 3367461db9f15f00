"""Gated cross-modal messages: each input's projection takes in what the others say, through a gate that starts closed.

Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022,
https://arxiv.org/abs/2204.14198, for the gate: a tanh of a learned number that is zero at the start. What differs:
vectors in place of tokens, so that a linear layer takes the place of cross-attention; a gate for each feature; and
every input listens to all others. The form for vectors is that of Ludwig's `GatedFusionCombiner`.

Axes: B batch, M inputs, D an input's width, H fused width.

    p_m = W_m x_m + b_m   [B H]
    f_m = p_m + tanh(g_m) * (U_m [p_j, j != m] + c_m)   [B H],   g_m [H] = 0 at the start
    y = W [f_1; ...; f_M] + b   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import complete, one_token, present, projected


class GatedCrossFusion(nn.Module):
    """A linear layer over projections that have taken in gated messages of one another.

    A missing input neither sends a message nor receives one, and its part of the join is zero. One input alone has no
    messages. Where all are missing, the result is the bias. Its details, where they are asked for, are how far the
    gates of each input are open to the others: `exchange.INPUT` [B H], from 0 to 1.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        others = len(widths) - 1
        self.message = nn.ModuleDict({name: nn.Linear(others * width, width) for name in widths if others})
        self.gate = nn.Parameter(torch.zeros(len(widths), width)) if others else None
        self.mix = nn.Linear(len(widths) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        projections = projected(features, self.project, 0.0)  # [B H] each
        joined = torch.cat(projections, 1)  # [B M*H]
        if self.gate is None:
            return one_token(self.mix(joined), features, self.project)
        found = []
        for m, layer in enumerate(self.message.values()):
            others = [projection for j, projection in enumerate(projections) if j != m]
            found.append(layer(others[0] if len(others) == 1 else torch.cat(others, 1)))
        messages = torch.stack(found, 1)  # [B M H]
        hears = self._hears(features)
        if hears is not None:
            messages = masked(messages, hears)
        mixed = self.mix(torch.addcmul(joined, self.gate.tanh().flatten(), messages.flatten(1)))
        fused = one_token(mixed, features, self.project)
        if not self.detailed:
            return fused
        openings = self.gate.tanh().abs().expand_as(messages)
        openings = openings if hears is None else masked(openings, hears)
        return replace(fused, details={f"exchange.{name}": openings[:, m] for m, name in enumerate(self.project)})

    def _hears(self, features: Mapping[str, Features]) -> Tensor | None:
        """[B M 1], where an input is there and has another to listen to; None is everywhere."""
        if complete(features, self.project):
            return None
        there = present(features, self.project)
        return (there & (there.sum(1, keepdim=True) > 1)).unsqueeze(2)
