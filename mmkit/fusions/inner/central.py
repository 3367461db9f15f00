"""CentralNet: a network of its own between the encoders, whose layers read its last state and theirs.

Vielzeuf, Lechervy, Pateux and Jurie, "CentralNet: a Multilayer Approach for Multimodal Fusion", ECCV Workshops 2018,
https://arxiv.org/abs/1808.07275. What differs: the layers of the centre are linear with a ReLU, over the mean of what
an encoder has at a place, brought to one width by a linear layer for each input and place. The loss of each input's own
head, which the paper adds, is the objective `unimodal`, which comes along. The paper could not be read here: the
formula is that of a reimplementation.

Axes: B batch, M inputs, D' width at a place, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, cast

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.places import At, places_named, shown, width_at
from mmkit.layers.vectors import one_token, projected


class CentralFusion(nn.Module):
    """`h = relu(W (a h + sum_m a_m (P_m mean X_m + p_m)) + b)` at each place, the farthest from the end first.

    Before the first place there is no h; every a_m is 1/M at the start. A missing input adds nothing. An input without
    places within its encoder is read at the last place alone.

    Args:
        widths: D of each input, by name.
        inner: widths within each encoder.
        width: H, the width of the fused features.
        at: places counted from the end: "last", behind the encoders, "all", or numbers: [1, 2] is also before their
            last parts. Place 1 is always among them.

    Raises:
        ValueError: a place that no encoder has.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        inner: Mapping[str, tuple[int, ...]],
        *,
        width: Annotated[int, Gt(0)] = 128,
        at: At = "all",
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.places = tuple(sorted({1, *places_named(at, inner)}, reverse=True))
        self.layers = nn.ModuleDict()
        for place in self.places:
            names = [name for name in shown(place, inner) if place == 1 or inner[name]]
            there = {name: width_at(place, widths[name], inner[name]) for name in names}
            self.layers[str(place)] = CentralLayer(there, width, first=place == self.places[0])

    def exchange(self, place: int, features: Mapping[str, Features]) -> dict[str, Features]:
        """Nothing is changed; the vectors of the place go along."""
        own = cast(CentralLayer, self.layers[str(place)]).project
        return {
            name: replace(features[name], penalties={}, details={}, inner={f"central.{place}": features[name].vector()})
            for name in own
        }

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        state: Tensor | None = None
        for place in self.places:
            layer = cast(CentralLayer, self.layers[str(place)])
            seen = {name: self._at(place, features[name]) for name in layer.project}
            state = layer(state, seen)
        assert state is not None  # noqa: S101 (place 1 is always there)
        return one_token(state, features, self.inputs)

    @staticmethod
    def _at(place: int, features: Features) -> Features:
        """What an input had at a place, as one vector."""
        if place == 1:
            return features
        return Features.of(features.inner[f"central.{place}"], None if features.complete else features.present())


class CentralLayer(nn.Module):
    """A layer of the centre.

    Args:
        widths: D' of each input that it reads.
        width: H.
        first: whether no layer is before it.
    """

    def __init__(self, widths: Mapping[str, int], width: int, *, first: bool) -> None:
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.shares = nn.Parameter(torch.full((len(widths),), 1 / max(len(widths), 1)))
        self.share = None if first else nn.Parameter(torch.ones(()))
        self.layer = nn.Linear(width, width)

    def forward(self, state: Tensor | None, features: Mapping[str, Features]) -> Tensor:
        """[B H]."""
        terms = [
            share * term
            for share, term in zip(self.shares.unbind(), projected(features, self.project, 0.0), strict=True)
        ]
        if state is not None and self.share is not None:
            terms.append(self.share * state)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return F.relu(self.layer(total))
