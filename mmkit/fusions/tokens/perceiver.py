"""Perceiver: learned latents look once at the tokens of all inputs, then at each other.

Jaegle et al., "Perceiver IO: A General Architecture for Structured Inputs & Outputs", ICLR 2022,
https://arxiv.org/abs/2107.14795. A port was read (lucidrains/perceiver-pytorch, perceiver_io.py), which repeats the
latents for every sample. What differs: there are 64 latents and 4 layers, which suit small data, instead of 512 and 6;
inputs get no positions, which are left to the encoders; feed-forward networks have GELU and twice the width of a token
instead of GEGLU and four times; the vector is by default the mean of the latents.

Axes: B batch, T tokens of all inputs, D an input's width, H fused width, K latents.

The cost grows with T, not with its square.

>>> import torch
>>> fusion = PerceiverFusion({"image": 512, "title": 256}, latents=16)
>>> fused = fusion({"image": Features.of(torch.rand(8, 49, 512)), "title": Features.of(torch.rand(8, 20, 256))})
>>> fused.tokens.shape, fused.vector().shape
(torch.Size([8, 16, 64]), torch.Size([8, 64]))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.cross import CrossLayer
from mmkit.layers.latents import Latents
from mmkit.layers.tokens import attention_shares, joined_tokens


class PerceiverFusion(nn.Module):
    """Latents Z [K H]: one cross-attention to all projected tokens with a feed-forward network, then layers among them.

    Missing inputs and padding are masked as keys; where all inputs are missing, the latents go on alone, so the result
    is the same for all such samples. The result has the latents as its tokens. Its details, where they are asked for,
    are what each token of the inputs gets of the cross-attention.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads` and of `cross_heads`.
        latents: K.
        layers: transformer layers among the latents.
        heads: attention heads of each of them.
        cross_heads: attention heads of the cross-attention.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.
        pool: the fused vector: the "mean" of the latents, or a learned "query" that looks at them, as in Perceiver IO.

    Raises:
        ValueError: `heads` or `cross_heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        latents: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Ge(0)] = 4,
        heads: Annotated[int, Gt(0)] = 4,
        cross_heads: Annotated[int, Gt(0)] = 1,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        pool: Literal["mean", "query"] = "mean",
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.latents = Latents(latents, width)
        self.look = CrossLayer(width, cross_heads, dropout)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.query = Latents(1, width) if pool == "query" else None
        self.read = CrossLayer(width, cross_heads, dropout) if pool == "query" else None
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B K H], the latents."""
        tokens, mask = joined_tokens(features, self.project)  # [B T H], [B T]
        found = self.look(self.latents(), tokens, mask)  # [B K H]
        for layer in self.layers:
            found = layer(found, None)
        details = None
        if self.detailed:
            weights = self.look.weights(self.latents(), tokens, mask).mean((1, 2))  # [B T]
            details = attention_shares(features, self.project, weights)
        if self.query is None or self.read is None:
            return Features.of(self.norm(found), details=details)
        vector = self.norm(self.read(self.query(), found, None).squeeze(1))
        return Features.of(self.norm(found), pooled=vector, details=details)
