"""State-space fusion: recurrences over the tokens of all inputs in both directions, at linear cost.

Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality",
ICML 2024, https://arxiv.org/abs/2405.21060, the Mamba-2 layer. The authors' code was read (state-spaces/mamba,
modules/mamba2_simple.py and ssd_minimal.py). What differs:

- It reads in both directions, each with steps, decays, keys and queries of its own, since no input comes first.
- No convolution over neighbouring tokens, which would reach across padding and from one input into the next.
- 16 states, 4 heads, chunks of 64 tokens and 2 layers, which suit small data; there 64 or more, heads 128 wide, chunks
  of 256 and 24 layers or more.

Axes: B batch, T tokens of all inputs, D an input's width, H fused width.

    for each layer: X <- X + StateSpace([W_1 X_1 + e_1; ...; W_M X_M + e_M]);   y = mean of norm(X)   [B T H]

The tokens are joined in the order of the names of their inputs, and an order of other names gives another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.state_space import StateSpaceLayer
from mmkit.layers.tokens import joined_tokens


class StateSpaceFusion(nn.Module):
    """Layers in which each token takes what decaying states have gathered before it, and others behind it.

    Padding and the tokens of a missing input are no steps: states pass them unchanged. Where all inputs are missing,
    the vector is zero. The result has all tokens, and as its vector the mean of the real ones. It serves long inputs:
    twice as many tokens cost twice as much, where attention over them costs four times as much.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        layers: number of layers.
        states: numbers that each number of a head keeps.
        heads: groups of numbers with steps and a decay of their own; must divide twice the width.
        dropout: rate of dropout on the branch of each layer, in training.
        decay: whether states decay; otherwise all tokens on the way count alike, which is linear attention.

    Raises:
        ValueError: `heads` does not divide twice the width.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Gt(0)] = 2,
        states: Annotated[int, Gt(0)] = 16,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        decay: bool = True,
    ) -> None:
        super().__init__()
        self.width = width
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.layers = nn.ModuleList(
            StateSpaceLayer(width, heads, states, dropout=dropout, decay=decay) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B T H], the tokens of all inputs one after the other."""
        tokens, mask = joined_tokens(features, self.project)  # [B T H], [B T]
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return Features.of(self.norm(tokens), mask)
