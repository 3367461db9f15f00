"""Guided attention: the encoded tokens of one input guide those of all others, and both are pooled by attention.

Yu et al., "Deep Modular Co-Attention Networks for Visual Question Answering", CVPR 2019,
https://arxiv.org/abs/1906.10770 (MCAN), in its encoder-decoder form. The authors' code was read (MILVLG/openvqa,
models/mcan). What differs:

- Any number of inputs: the anchor takes the place of the question, the joined tokens of all others that of the image.
- There is 1 layer each instead of 6, norms stand before the branches, feed-forward networks have GELU and twice the
  width of a token instead of four times.
- The layers that merge the pooled vectors have no bias, so that what is missing adds nothing before the last norm.

Axes: B batch, T tokens of the anchor, S tokens of all others, D an input's width, H fused width, K layers.

    Y <- Self_k(Y), k = 1..K   [B T H];   X <- Decoder_k(X, Y), k = 1..K   [B S H]
    p(X) = sum_j softmax_j(v . relu(U X_j + u)) X_j   [B H];   y = norm(W p(X) + V p'(Y))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.decoder import DecoderLayer
from mmkit.layers.others import Others
from mmkit.layers.present_softmax import present_softmax
from mmkit.layers.tokens import attention_shares, joined_tokens, without_choice
from mmkit.layers.vectors import one_token


class GuidedAttentionFusion(nn.Module):
    """Transformer layers over the anchor; decoder layers over all others, which look at it; the sum of both, pooled.

    Missing inputs and padding are masked everywhere: where the anchor is missing, the others go on without a guide, and
    where all others are, the anchor is left alone. Its details, where they are asked for, are what each token gets of
    the attention that pools, of sum 1 over all inputs.

    Args:
        widths: D of each input, by name; at least two.
        width: H, the width of the fused features; a multiple of `heads`.
        anchor: the input that guides the others; the first by name where none is given.
        layers: K, of the anchor and of the others.
        heads: attention heads of each attention.
        dropout: rate of dropout on attention weights and on all branches of a layer, in training.

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
        self.inputs = tuple(widths)
        self.others = Others(widths, anchor)
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.guide = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.guided = nn.ModuleList(DecoderLayer(width, heads, dropout, looks=True) for _ in range(layers))
        self.pool = nn.ModuleList(Pool(width) for _ in range(2))  # of the anchor, of the others
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        guide, real = joined_tokens(features, self.project, (self.others.anchor,))  # [B T H], [B T]
        tokens, mask = joined_tokens(features, self.project, self.others.names)  # [B S H], [B S]
        for layer in self.guide:
            guide = layer(guide, real)
        for layer in (cast(DecoderLayer, layer) for layer in self.guided):
            tokens = layer(layer.among(tokens, mask), guide, real)
        first, of_guide = self.pool[0](guide, real)
        second, of_tokens = self.pool[1](tokens, mask)
        found = one_token(self.norm(first + second), features, self.inputs)
        if not self.detailed:
            return found
        count = (real.any(1).int() + mask.any(1)).clamp(min=1).unsqueeze(1)  # [B 1]
        shares = attention_shares(features, (self.others.anchor,), of_guide / count)
        return replace(found, details=shares | attention_shares(features, self.others.names, of_tokens / count))

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That there is no choice, where the anchor has one token."""
        return without_choice("the others", features, (self.others.anchor,))


class Pool(nn.Module):
    """Tokens to one vector: a mean weighed by scores of a small network, then a linear layer.

    Args:
        width: H.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # A bias of the last layer would raise all scores alike.
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1, bias=False))
        self.merge = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B H], zero in rows without real tokens, and the weights [B T], from tokens [B T H] and mask [B T]."""
        weights = present_softmax(self.score(tokens).squeeze(2), mask)
        mean = torch.einsum("bt,bth->bh", weights.to(tokens.dtype), tokens)
        return self.merge(mean), weights
