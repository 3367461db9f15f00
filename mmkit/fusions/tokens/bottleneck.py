"""Attention bottlenecks: a transformer for each input, and a few shared tokens that carry what they exchange.

Nagrani et al., "Attention Bottlenecks for Multimodal Fusion", NeurIPS 2021, https://arxiv.org/abs/2107.00135 (MBT). The
authors' code was read (google-research/scenic, projects/mbt/model.py): the bottlenecks start as there, and so does the
shared norm at the end. What differs:

- Inputs are encoded already, so 2 layers follow, and all of them exchange; there the last 4 of 12 do.
- Bottlenecks are averaged over the inputs that are there; the code has no masks.
- The vector is the mean over inputs of the means of their tokens. There a class token of each input gives logits, which
  are averaged, or the mean is over the tokens of all inputs, where the longer input counts for more.
- Of the last layer, what it makes of the bottlenecks is not read, and not computed.
- Feed-forward networks have twice the width of a token instead of four times; there is no stochastic depth.

Axes: B batch, T tokens of an input, D an input's width, H fused width, M inputs, n bottlenecks.

    [X_m; z_m] = Layer_ml([X_m; z])   [B T+n H],   z = mean of z_m over the inputs that are there   [B n H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.latents import Latents
from mmkit.layers.tokens import mean_of_inputs
from mmkit.layers.vectors import present


class BottleneckFusion(nn.Module):
    """A transformer for each input over its own tokens and the bottlenecks, which are averaged after each layer.

    One input hears of another from the second layer on. A missing input counts in no average, and where all are missing
    the vector is zero. A single input has a transformer with n more tokens. The result has all tokens, and as its
    vector the mean over inputs of their masked means.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads`.
        layers: transformer layers of each input; with one nothing would be exchanged.
        heads: attention heads of each layer.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.
        bottlenecks: n, of tokens that the inputs share; with 0 they stay apart until their vectors are averaged.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        layers: Annotated[int, Ge(2)] = 2,
        heads: Annotated[int, Gt(0)] = 4,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        bottlenecks: Annotated[int, Ge(0)] = 4,
    ) -> None:
        super().__init__()
        self.width = width
        # The bias of a projection is the embedding of its input.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.bottlenecks = Latents(bottlenecks, width)
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: TransformerLayer(width, heads, dropout) for name in widths}) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B T H], the tokens of all inputs one after the other."""
        tokens = {name: linear(features[name].tokens) for name, linear in self.project.items()}  # [B T H] each
        shared = self.bottlenecks.of(next(iter(tokens.values())))  # [B n H]
        real = torch.ones(shared.shape[:2], dtype=torch.bool, device=shared.device)
        masks = {name: torch.cat([features[name].mask, real], 1) for name in tokens}  # [B T+n]
        there = present(features, self.project)  # [B M]
        *earlier, last = (cast(nn.ModuleDict, layer) for layer in self.layers)
        for layer in earlier:
            found = []
            for name, part in layer.items():
                length = tokens[name].shape[1]
                seen = part(torch.cat([tokens[name], shared], 1), masks[name])
                tokens[name] = seen[:, :length]
                found.append(seen[:, length:])
            shared = mean_of_inputs(found, there, shared)
        fused = []
        for name, part in last.items():
            seen = part(torch.cat([tokens[name], shared], 1), masks[name], first=tokens[name].shape[1])
            fused.append(Features.of(self.norm(seen), features[name].mask))
        vector = mean_of_inputs([each.vector() for each in fused], there)
        return Features.of(torch.cat([f.tokens for f in fused], 1), torch.cat([f.mask for f in fused], 1), vector)
