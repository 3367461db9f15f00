"""Crossmodal transformers: each input's tokens attend to those of every other input.

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019,
https://arxiv.org/abs/1906.00295 (MulT).

Axes: B batch, T tokens of an input, D an input's width, H fused width, M inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.cross import CrossLayer
from mmkit.layers.tokens import without_choice


class CrossAttentionFusion(nn.Module):
    """Crossmodal transformers over all ordered pairs of inputs, then self-attention within each input.

    As in MulT, each input has one residual stream of its own tokens for every other input that it attends to, and its
    streams are joined before the self-attention. Attention to a missing input adds zero. A single input attends to
    itself. What differs:

    - Inputs are projected step by step, without a temporal convolution, are not scaled by the root of H, and get no
      positions, which are left to the encoders.
    - The context has a norm of its own beside that of the queries; no norm stands at a stream's end. Feed-forward
      networks have GELU and twice the width of a token instead of ReLU and four times.
    - A linear layer joins the streams of an input to width H, where a single layer of self-attention follows instead of
      a transformer over all streams' widths.
    - The vectors of the inputs are masked means instead of last steps, and one linear layer over them gives the output,
      without a residual block.

    The result has all tokens, and as its vector a linear layer over the vectors of all inputs.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads`.
        layers: crossmodal layers of each ordered pair of inputs.
        heads: attention heads of each layer.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 1,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        # Ordered pairs: the first looks at the second.
        self.pairs = [(name, other) for name in widths for other in widths if name != other or len(widths) == 1]
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.cross = nn.ModuleList(Stream(width, layers, heads, dropout) for _ in self.pairs)
        streams = max(len(widths) - 1, 1)
        self.join = nn.ModuleDict({name: nn.Linear(streams * width, width) for name in widths})
        self.within = nn.ModuleDict({name: TransformerLayer(width, heads, dropout) for name in widths})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in widths})
        self.mix = nn.Linear(len(widths) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B T H], the tokens of all inputs one after the other."""
        projected = {name: linear(features[name].tokens) for name, linear in self.project.items()}  # [B T H] each
        streams: dict[str, list[Tensor]] = {name: [] for name in self.project}
        for (name, other), stream in zip(self.pairs, self.cross, strict=True):
            streams[name].append(stream(projected[name], projected[other], features[other].mask))
        seen = []
        for name in self.project:
            mask = features[name].mask
            joined = self.join[name](torch.cat(streams[name], 2))
            seen.append(Features.of(self.norm[name](self.within[name](joined, mask)), mask))
        tokens = torch.cat([each.tokens for each in seen], 1)
        mask = torch.cat([each.mask for each in seen], 1)
        return Features.of(tokens, mask, self.mix(torch.cat([each.vector() for each in seen], 1)))

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That there is no choice, for each pair whose second has one token."""
        return [line for name, other in self.pairs for line in without_choice(name, features, [other])]


class Stream(nn.Module):
    """A crossmodal transformer: in each layer, the tokens of one input attend to the encoded tokens of another.

    Args:
        width: H, of the fused features.
        layers: number of layers.
        heads: attention heads of each layer.
        dropout: rate of each layer.
    """

    def __init__(self, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(width, heads, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """[B T H] from tokens [B T H] and context [B S H], of which `mask` [B S] says what is real."""
        for layer in self.layers:
            tokens = layer(tokens, context, mask)
        return tokens
