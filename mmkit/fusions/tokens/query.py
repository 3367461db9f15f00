"""Querying transformer: learned queries look at the tokens of all inputs in every second layer.

Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models",
ICML 2023, https://arxiv.org/abs/2301.12597 (Q-Former). The authors' code was read (salesforce/LAVIS, blip2_models): the
queries start as there, and cross-attention stands between self-attention and feed-forward network, in the first layer
and every second one after it. What differs:

- All inputs are looked at together; there one image is, and a text goes along with the queries.
- There are 2 layers from random weights instead of 12 from BERT, and norms stand before the branches, not after.
- The first self-attention sees no sample, so it is computed once, and in training drops the same in all rows of a
  batch.
- Feed-forward networks have twice the width of a token instead of four times.

Axes: B batch, T tokens of all inputs, D an input's width, H fused width, K queries.

The cost grows with T, not with its square. Perceiver looks at the inputs but once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.decoder import DecoderLayer
from mmkit.layers.latents import Latents
from mmkit.layers.tokens import attention_shares, joined_tokens


class QueryFusion(nn.Module):
    """K learned queries through pre-norm layers: self-attention, in some cross-attention to all tokens, a network.

    Missing inputs and padding are masked as keys; where all inputs are missing, the queries go on alone, so the result
    is the same for all such samples. The result has the queries as its tokens, and as its vector their mean. Its
    details, where they are asked for, are what each token of the inputs gets of the cross-attention, as a mean over
    layers, heads and queries.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads`.
        queries: K.
        layers: number of layers.
        every: the first layer looks at the inputs, and after it one in so many.
        heads: attention heads of each attention.
        dropout: rate of dropout on attention weights and on all branches of a layer, in training.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        queries: Annotated[int, Gt(0)] = 32,
        layers: Annotated[int, Gt(0)] = 2,
        every: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.queries = Latents(queries, width)
        self.layers = nn.ModuleList(DecoderLayer(width, heads, dropout, looks=n % every == 0) for n in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B K H], the queries."""
        tokens, mask = joined_tokens(features, self.project)  # [B T H], [B T]
        found = self.queries()  # [1 K H]; [B K H] after the first look
        weights: list[Tensor] = []
        for layer in (cast(DecoderLayer, layer) for layer in self.layers):
            found = layer.among(found)
            if self.detailed and layer.looks:
                weights.append(layer.weights(found, tokens, mask).mean((1, 2)))  # [B T]
            found = layer(found, tokens, mask)
        details = attention_shares(features, self.project, torch.stack(weights).mean(0)) if self.detailed else None
        return Features.of(self.norm(found), details=details)
