"""Gated cross-attention: the tokens of one input look at all others through gates that are closed at the start.

Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022,
https://arxiv.org/abs/2204.14198. A reproduction was read (mlfoundations/open_flamingo, src/helpers.py): gates, norms,
biases and the width of the feed-forward network are as there. What differs:

- The anchor's tokens are those of its encoder, projected; there is no frozen language model between the layers.
- The others are projected and joined, and normed by each layer; there a resampler makes 64 tokens of each image, and a
  word looks at the last image before it alone.
- Where the anchor is missing, a learned token stands in, or the others would be lost.
- There is dropout.

Axes: B batch, T tokens of the anchor, S tokens of all others, D an input's width, H fused width.

    X <- X + tanh(a) attention(norm X, norm C)   [B T H],   C = [W_j X_j + e_j, j not the anchor]   [B S H]
    X <- X + tanh(b) W_2 GELU(W_1 norm X),   a = b = 0 at the start
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.cross import CrossLayer
from mmkit.layers.latents import Latents
from mmkit.layers.others import Others
from mmkit.layers.tokens import attention_shares, first_of_missing, joined_tokens, without_choice


class GatedAttentionFusion(nn.Module):
    """Layers of gated cross-attention from the tokens of the anchor to those of all other inputs.

    At the start the result is the projected anchor, and all behind the gates has no gradient until they have moved. In
    a row without others only the feed-forward networks act. The result has the anchor's tokens, and as its vector their
    masked mean. Its details, where they are asked for, are what each token of the others gets, as a mean over layers,
    heads and real tokens of the anchor.

    Args:
        widths: D of each input, by name; at least two.
        width: H, the width of the fused features; a multiple of `heads`.
        anchor: the input whose tokens look at the others; the first by name where none is given.
        layers: number of layers.
        heads: attention heads of each layer.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.

    Raises:
        ValueError: `heads` does not divide `width`, `anchor` is no input, or there is no other.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        anchor: str | None = None,
        layers: Annotated[int, Gt(0)] = 1,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        self.others = Others(widths, anchor)
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.stand_in = Latents(1, width)
        self.layers = nn.ModuleList(
            CrossLayer(width, heads, dropout, expansion=4, gated=True, bias=False) for _ in range(layers)
        )

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B T H], the tokens of the anchor."""
        tokens, mask = self._anchor(features[self.others.anchor])
        context, seen = joined_tokens(features, self.project, self.others.names)  # [B S H], [B S]
        weights: list[Tensor] = []
        for layer in (cast(CrossLayer, layer) for layer in self.layers):
            if self.detailed:
                weights.append(layer.weights(tokens, context, seen).mean(1))  # [B T S]
            tokens = layer(tokens, context, seen)
        details = None
        if self.detailed:
            got = (torch.stack(weights).mean(0) * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)  # [B S]
            details = attention_shares(features, self.others.names, got)
        return Features.of(tokens, mask, details=details)

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That there is no choice, where the others have one token in all."""
        return without_choice(self.others.anchor, features, self.others.names)

    def _anchor(self, anchor: Features) -> tuple[Tensor, Tensor]:
        """Tokens [B T H] and mask [B T]; where the anchor is missing, the first token is the one that stands in."""
        tokens, mask = self.project[self.others.anchor](anchor.tokens), anchor.mask
        if anchor.complete:
            return tokens, mask
        stands = first_of_missing(anchor)
        return torch.where(stands.unsqueeze(2), self.stand_in.of(tokens), tokens), mask | stands
