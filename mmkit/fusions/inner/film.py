"""Feature-wise linear modulation: all other inputs scale and shift the features of one, the anchor.

Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, https://arxiv.org/abs/1709.07871.
What differs: the paper modulates the blocks of a convolutional network; here `at` asks for that, within any encoder
that has places, and by default only the vector behind it is modulated, so that each input is encoded for itself. The
condition is the join of all other inputs as they stand at that place, where the paper has one question, read whole (as
is here an input whose encoder has no places). At the start nothing is modulated: training begins with the encoders as
they are, and the projection of the anchor.

Axes: B batch, T positions, D an input's width, D' that at a place, H fused width; x_a the anchor's vector, X_a what
stands at a place within its encoder.

    X_a <- (1 + gamma) X_a + beta   [B T D'],   [gamma; beta] = G' [mean X_m, m != a] + g'   [B 2D'], place by place
    y = (1 + gamma) * (W x_a + b) + beta   [B H],   [gamma; beta] = G [x_m, m != a] + g   [B 2H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.modulated import modulated
from mmkit.layers.others import Others
from mmkit.layers.places import At, places_named, shown, width_at
from mmkit.layers.vectors import joined, one_token, projected


class FilmFusion(nn.Module):
    """The anchor's maps within its encoder, then its projection, scaled and shifted by what the other inputs say.

    A missing input adds nothing to scale and shift. Where the anchor is missing its maps stay zero, and of the
    projection the shift alone is left; where all are missing, the constant of the shift.

    Args:
        widths: D of each input, by name.
        inner: widths within each encoder.
        width: H, the width of the fused features.
        anchor: name of the input that is modulated; none is the first by name.
        at: places of the anchor's encoder, counted from the end: "last", behind it, "all", or numbers: [1, 2] is also
            before its last part. Behind it, the anchor is modulated whatever is named.

    Raises:
        ValueError: one input, `anchor` is no input, or a place that the encoder of the anchor has not, or at which no
            other input is shown.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        inner: Mapping[str, tuple[int, ...]],
        *,
        width: Annotated[int, Gt(0)] = 128,
        anchor: str | None = None,
        at: At = "last",
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.others = Others(widths, anchor)
        self.anchor = self.others.anchor
        met = [place for place in range(1 + len(inner[self.anchor]), 1, -1) if len(shown(place, inner)) > 1]
        asked = places_named(at, inner)
        if at != "all" and (lacking := [place for place in asked if place not in (*met, 1)]):
            raise ValueError(
                f"at {lacking[0]}: {self.anchor}, the anchor, meets another input at "
                f"{', '.join(map(str, [*met, 1]))}, counted from the end; take of these"
            )
        self.places = (*(place for place in met if place in asked), 1)
        self.conditions = {
            place: tuple(name for name in shown(place, inner) if name != self.anchor) for place in self.places
        }
        self.within = nn.ModuleDict()
        for place in self.places[:-1]:
            beside = sum(width_at(place, widths[name], inner[name]) for name in self.conditions[place])
            self.within[str(place)] = _modulator(beside, width_at(place, widths[self.anchor], inner[self.anchor]))
        self.project = nn.ModuleDict({self.anchor: nn.Linear(widths[self.anchor], width)})
        self.modulate = _modulator(self.others.width, width)

    def exchange(self, place: int, features: Mapping[str, Features]) -> dict[str, Features]:
        """The anchor's features, modulated at a place within its encoder."""
        gamma, beta = self.within[str(place)](joined(features, self.conditions[place])).chunk(2, 1)  # [B D'] each
        return {self.anchor: modulated(features[self.anchor], gamma, beta)}

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        (anchor,) = projected(features, self.project, 0.0)  # [B H], zero where the anchor is missing
        gamma, beta = self.modulate(self.others(features)).chunk(2, 1)  # [B H] each
        return one_token(torch.addcmul(anchor + beta, gamma, anchor), features, self.inputs)


def _modulator(beside: int, width: int) -> nn.Linear:
    """From what the others say to scale less 1 and shift, both zero at the start."""
    layer = nn.Linear(beside, 2 * width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
