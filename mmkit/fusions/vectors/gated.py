"""Gated multimodal unit: each input passes a learned gate that reads all inputs.

Arevalo et al., "Gated Multimodal Units for Information Fusion", ICLR 2017 workshop, https://arxiv.org/abs/1702.01992.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.vectors import one_token


class GatedFusion(nn.Module):
    """Sum over the inputs of `sigmoid(gate(all vectors)) * tanh(project(vector))`.

    As in the paper there are no biases: a missing input is a vector of zeros, so it adds `tanh(0) = 0` and changes no
    gate. Where all inputs are missing, the result is zero. Its details, where they are asked for, are the gates.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        tied: one gate z for the first input and 1 - z for the second: the form of the paper, for two inputs only.

    Raises:
        ValueError: `tied` with any number of inputs but two.
    """

    def __init__(self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128, tied: bool = False) -> None:
        super().__init__()
        if tied and len(widths) != 2:
            raise ValueError(f"tied gates are for two inputs; got {len(widths)} ({', '.join(widths)}): use tied=false")
        self.width = width
        self.tied = tied
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width, bias=False) for name, d in widths.items()})
        gates = 1 if tied else len(widths)
        self.gate = nn.Linear(sum(widths.values()), gates * width, bias=False)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        vectors = [features[name].vector() for name in self.project]  # [B D] each, zero where the input is missing
        gates = self.gate(torch.cat(vectors, 1)).sigmoid()  # [B M*H], or [B H]
        values = [linear(vector).tanh() for linear, vector in zip(self.project.values(), vectors, strict=True)]
        if self.tied:
            fused = torch.lerp(values[1], values[0], gates)
        else:
            first, *others = zip(gates.split(self.width, 1), values, strict=True)
            fused = first[0] * first[1]
            for gate, value in others:
                fused = torch.addcmul(fused, gate, value)
        found = one_token(fused, features, self.project)
        return replace(found, details=self._gates(gates)) if self.detailed else found

    def _gates(self, gates: Tensor) -> dict[str, Tensor]:
        """`gate.INPUT` [B H] of each input."""
        each = (gates, 1 - gates) if self.tied else gates.split(self.width, 1)
        return {f"gate.{name}": gate for name, gate in zip(self.project, each, strict=True)}
