"""Co-attention: in each layer the tokens of every input look at those of the others, then at each other.

Lu et al., "ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language Tasks", NeurIPS
2019, https://arxiv.org/abs/1908.02265. A port of the authors' code was read (facebookresearch/mmf, models/vilbert.py).
What differs:

- Any number of inputs, each of which looks at the joined tokens of all others; there are two in the paper.
- Inputs are encoded already: 1 layer from random weights follows, without BERT, and norms stand before the branches.
- The vector is the mean over inputs of the means of their tokens; there the first tokens of both are multiplied.
- Feed-forward networks have twice the width of a token instead of four times.

Axes: B batch, T tokens of an input, D an input's width, H fused width.

    C_m = [X_j, j != m];   X_m <- Self_lm(Cross_lm(X_m, C_m)), all from the X of the layer before   [B T H]

`cross-attention` differs: there each input has a stream for every other one, which looks at its encoded tokens alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.cross import CrossLayer
from mmkit.layers.tokens import mean_of_inputs, without_choice
from mmkit.layers.vectors import present


class CoAttentionFusion(nn.Module):
    """Layers of cross-attention with a feed-forward network to all other inputs, then a transformer layer within.

    Attention to missing inputs adds zero, and a missing input counts in no mean; where all are missing, the vector is
    zero. The result has all tokens, and as its vector the mean over inputs of their masked means.

    Args:
        widths: D of each input, by name; at least two.
        width: H, the width of the fused features; a multiple of `heads`.
        layers: number of layers.
        heads: attention heads of each attention.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.

    Raises:
        ValueError: `heads` does not divide `width`, or there is one input.
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
        if len(widths) < 2:
            raise ValueError(f"co-attention is between inputs; got {len(widths)} ({', '.join(widths)})")
        self.width = width
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.cross = nn.ModuleList(
            nn.ModuleDict({name: CrossLayer(width, heads, dropout) for name in widths}) for _ in range(layers)
        )
        self.within = nn.ModuleList(
            nn.ModuleDict({name: TransformerLayer(width, heads, dropout) for name in widths}) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B T H], the tokens of all inputs one after the other."""
        tokens = {name: linear(features[name].tokens) for name, linear in self.project.items()}  # [B T H] each
        masks = {name: features[name].mask for name in tokens}
        others = {name: [other for other in tokens if other != name] for name in tokens}
        seen = {name: torch.cat([masks[other] for other in others[name]], 1) for name in tokens}
        for cross, within in zip(self.cross, self.within, strict=True):
            look, among = cast(nn.ModuleDict, cross), cast(nn.ModuleDict, within)
            context = {name: torch.cat([tokens[other] for other in others[name]], 1) for name in tokens}
            tokens = {n: among[n](look[n](tokens[n], context[n], seen[n]), masks[n]) for n in tokens}
        fused = [Features.of(self.norm(tokens[name]), masks[name]) for name in tokens]
        vector = mean_of_inputs([each.vector() for each in fused], present(features, tokens))
        return Features.of(torch.cat([f.tokens for f in fused], 1), torch.cat([f.mask for f in fused], 1), vector)

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That there is no choice, for each input whose others have one token in all."""
        names = list(self.project)
        return [line for n in names for line in without_choice(n, features, [other for other in names if other != n])]
