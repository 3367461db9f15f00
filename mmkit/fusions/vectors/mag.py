"""Multimodal adaptation gate (MAG): the other inputs shift one of them, the anchor, by no more than its own length.

Rahman et al., "Integrating Multimodal Information in Large Pretrained Transformers", ACL 2020,
https://arxiv.org/abs/1908.05787. What differs: the paper shifts the embedding of each word between two layers of a
language model, by what was seen and heard meanwhile, in the width of that embedding; here one vector is shifted, and
the anchor is brought to the fused width first. Any number of others; where the anchor is missing its length is no
bound, for a bound of zero would lose the others. The dropout behind the norm is .1, where the authors' code has .5.

Axes: B batch, D an input's width, H fused width; x_a the anchor.

    a = W_a x_a + b_a   [B H]
    h = sum_{i != a} relu(G_i [x_i; a] + c_i) * (W_i x_i + b_i)   [B H]
    y = norm(a + min(limit |a| / (|h| + 1e-6), 1) h)   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.others import Others
from mmkit.layers.vectors import one_token, projected, there

NEAR = 1e-6
"""Added to the length of the shift."""


class MagFusion(nn.Module):
    """The anchor's projection and a gated shift of bounded length, normalised.

    A missing input shifts nothing. Where the anchor is missing the shift alone is normalised; where all are missing,
    the result is the bias of the norm.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        limit: the greatest length of the shift, in lengths of the anchor's projection.
        dropout: rate of dropout on the result, in training.
        anchor: name of the input that is shifted; none is the first by name.

    Raises:
        ValueError: one input, or `anchor` is no input.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        limit: Annotated[float, Gt(0)] = 1.0,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        anchor: str | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.limit = limit
        self.others = Others(widths, anchor)
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.gate = nn.ModuleDict({name: nn.Linear(widths[name] + width, width) for name in self.others.names})
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        values = dict(zip(self.project, projected(features, self.project, 0.0), strict=True))  # [B H] each
        anchor = values[self.others.anchor]
        shift: Tensor | None = None
        for name, layer in self.gate.items():
            opening = layer(torch.cat([features[name].vector(), anchor], 1)).relu()
            shift = opening * values[name] if shift is None else torch.addcmul(shift, opening, values[name])
        assert shift is not None  # noqa: S101 (an anchor has others)
        share = self._share(anchor, shift)  # [B 1]
        if not features[self.others.anchor].complete:
            share = share.where(there(features[self.others.anchor]), 1)
        fused = self.dropout(self.norm(torch.addcmul(anchor, share.to(shift.dtype), shift)))
        return one_token(fused, features, self.project)

    def _share(self, anchor: Tensor, shift: Tensor) -> Tensor:
        """[B 1]: how much of the shift the limit leaves."""
        lengths = [torch.linalg.vector_norm(one, dim=1, keepdim=True) for one in (anchor, shift)]
        return (self.limit * lengths[0] / (lengths[1] + NEAR)).clamp(max=1)
