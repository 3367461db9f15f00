"""Dynamic affine feature map transform: an input's maps are scaled and shifted by what the other inputs say.

Pölsterl, Wolf and Wachinger, "Combining 3D Image and Tabular Data via the Dynamic Affine Feature Map Transform",
MICCAI 2021, https://arxiv.org/abs/2107.05990. What differs: any kind of anchor with places within its encoder, and any
number of other inputs, joined; the map is (1 + gamma) X + beta, with a second layer that starts at zero, so that the
encoder begins unchanged: the published code has gamma X, which nothing passes where that layer is zero.

Axes: B batch, T positions, D' width at the place, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.modulated import modulated
from mmkit.layers.others import Others
from mmkit.layers.places import shown, width_at
from mmkit.layers.vectors import joined, one_token, there


class DaftFusion(nn.Module):
    """`[gamma, beta] = V relu(W [mean X; c])` without biases, `X (1 + gamma) + beta`; then a linear layer of X.

    c is the vectors of all other inputs, one after the other. As in the paper what they say reaches the answer through
    the anchor alone. Where it is missing its map stays zero, and a linear layer of c stands in for its own.

    Args:
        widths: D of each input, by name.
        inner: widths within each encoder.
        width: H, the width of the fused features.
        anchor: the input whose map is changed; None is the first.
        bottleneck: numbers between the two layers.
        at: the place, counted from the end: 1 is behind the encoder, 2 before its last part. An encoder that has it not
            is changed at the farthest place that it has.

    Raises:
        ValueError: `anchor` is no input, there is none beside it, or one of the others is not at the place.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        inner: Mapping[str, tuple[int, ...]],
        *,
        width: Annotated[int, Gt(0)] = 128,
        anchor: str | None = None,
        bottleneck: Annotated[int, Gt(0)] = 7,
        at: Annotated[int, Ge(1)] = 2,
    ) -> None:
        super().__init__()
        self.others = Others(widths, anchor)
        self.anchor = self.others.anchor
        self.width = width
        place = min(at, 1 + len(inner[self.anchor]))
        if lacking := [name for name in widths if name not in shown(place, inner) and place > 1]:
            raise ValueError(f"at {at}: the encoder of {lacking[0]} has {1 + len(inner[lacking[0]])} places; take at=2")
        self.places = (place,)
        own = width_at(place, widths[self.anchor], inner[self.anchor])
        beside = sum(width_at(place, widths[name], inner[name]) for name in self.others.names)
        self.squeeze = nn.Linear(own + beside, bottleneck, bias=False)
        self.excite = nn.Linear(bottleneck, 2 * own, bias=False)
        nn.init.zeros_(self.excite.weight)
        self.mix = nn.Linear(widths[self.anchor], width)
        self.instead = nn.Linear(self.others.width, width, bias=False)

    def exchange(self, place: int, features: Mapping[str, Features]) -> dict[str, Features]:  # noqa: ARG002
        """The anchor's features, changed."""
        return {self.anchor: modulated(features[self.anchor], *self._affine(features))}

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        anchor = features[self.anchor]
        vector = anchor.vector()
        if self.places == (1,):
            gamma, beta = self._affine(features)
            vector = torch.addcmul(beta, vector, 1 + gamma)
            vector = vector if anchor.complete else masked(vector, there(anchor))
        fused = self.mix(vector)
        if not anchor.complete:
            others = masked(self.others(features), ~there(anchor))
            fused = torch.addmm(fused, others, self.instead.weight.t())
        return one_token(fused, features, (self.anchor, *self.others.names))

    def _affine(self, features: Mapping[str, Features]) -> tuple[Tensor, Tensor]:
        """Scale less 1 and shift, [B D'] each."""
        seen = F.relu(self.squeeze(joined(features, (self.anchor, *self.others.names))))
        gamma, beta = self.excite(seen).chunk(2, 1)
        return gamma, beta
