"""Multimodal transfer module: the channels of each encoder's maps are gated by what all of them see together.

Joze, Shaban, Iuzzolino and Koishida, "MMTM: Multimodal Transfer Module for CNN Fusion", CVPR 2020,
https://arxiv.org/abs/1911.08670. What differs: any number of inputs, joined; the layers of the gates start at zero, so
that the encoders begin unchanged (the gate is 2 sigmoid, which is then 1; published code has the sigmoid alone, which
halves every map); one linear layer over the vectors of all inputs follows, where the paper averages the predictions of
two networks. That the paper has the factor 2 could not be verified here.

Axes: B batch, M inputs, T positions, D' width at a place, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.layers.places import At, places_named, shown, width_at


class MmtmFusion(nn.Module):
    """At each place `X_m * 2 sigmoid(G_m relu(W [mean X_1; ...; mean X_M] + b) + g_m)`; then concatenation.

    A missing input squeezes to zero and its gate acts on zeros. An input without places within its encoder is squeezed
    at every place of the others, and gated at the last alone.

    Args:
        widths: D of each input, by name.
        inner: widths within each encoder.
        width: H, the width of the fused features.
        ratio: by how much the squeezed vectors are narrowed: 2 sum(D') / ratio numbers are left.
        at: places counted from the end: "last", behind the encoders, "all", or numbers: [1, 2] is also before their
            last parts.

    Raises:
        ValueError: a place that no encoder has.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        inner: Mapping[str, tuple[int, ...]],
        *,
        width: Annotated[int, Gt(0)] = 128,
        ratio: Annotated[float, Gt(0)] = 4.0,
        at: At = "all",
    ) -> None:
        super().__init__()
        self.width = width
        self.places = places_named(at, inner)
        self.transfers = nn.ModuleDict()
        for place in self.places:
            there = {name: width_at(place, widths[name], inner[name]) for name in shown(place, inner)}
            gated = [name for name in there if place == 1 or inner[name]]
            self.transfers[str(place)] = Transfer(there, gated, ratio)
        self.join = ConcatFusion(widths, width=width)

    def exchange(self, place: int, features: Mapping[str, Features]) -> dict[str, Features]:
        """The features that are gated at a place."""
        gates = self.transfers[str(place)](features)
        return {name: _scaled(features[name], gate) for name, gate in gates.items()}

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        changed = self.exchange(1, features) if 1 in self.places else {}
        return self.join({**features, **changed})


class Transfer(nn.Module):
    """The gates of a place.

    Args:
        widths: D' of each input that is shown there.
        gated: the inputs that get a gate.
        ratio: see `MmtmFusion`.
    """

    def __init__(self, widths: Mapping[str, int], gated: list[str], ratio: float) -> None:
        super().__init__()
        self.inputs = tuple(widths)
        total = sum(widths.values())
        narrow = max(1, int(2 * total / ratio))
        self.squeeze = nn.Linear(total, narrow)
        self.gates = nn.ModuleDict({name: nn.Linear(narrow, widths[name]) for name in gated})
        for gate in self.gates.values():
            nn.init.zeros_(gate.weight)  # type: ignore[arg-type]
            nn.init.zeros_(gate.bias)  # type: ignore[arg-type]

    def forward(self, features: Mapping[str, Features]) -> dict[str, Tensor]:
        """[B D'] each, of the inputs that are gated, from 0 to 2."""
        seen = F.relu(self.squeeze(torch.cat([features[name].vector() for name in self.inputs], 1)))
        return {name: 2 * gate(seen).sigmoid() for name, gate in self.gates.items()}


def _scaled(features: Features, gate: Tensor) -> Features:
    pooled = None if features.pooled is None else features.pooled * gate
    return replace(features, tokens=features.tokens * gate.unsqueeze(1), pooled=pooled, penalties={}, details={})
