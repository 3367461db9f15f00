"""Iterative attention: latents look at one input after the other, again in every layer.

Hemker et al., "HEALNet: Multimodal Fusion for Heterogeneous Biomedical Data", NeurIPS 2024,
https://arxiv.org/abs/2311.09115. The authors' code was read (konst-int-i/healnet, healnet/models/healnet.py). What
differs:

- The latents are 32 in 2 layers, which suit small data, and start small, with deviation .02 in place of 1.
- Inputs are encoded already, and get no Fourier features of positions.
- Softmaxes have temperature 1 in place of .5, feed-forward networks GELU and twice the width of a token in place of a
  gated unit and four times, and nothing stands behind the attention but a linear layer.

Axes: B batch, T tokens of an input, D an input's width, H fused width, K latents.

    for each layer: for each input m, where it is there: Z <- Cross_lm(Z, W_m X_m + e_m);   Z <- Self_l(Z)   [B K H]

The inputs are looked at in the order of their names, and an order of other names gives another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, cast

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.chosen import chosen
from mmkit.layers.cross import CrossLayer
from mmkit.layers.latents import Latents
from mmkit.layers.vectors import present, there


class IterativeFusion(nn.Module):
    """In each layer one cross-attention with a feed-forward network for each input, then a layer among the latents.

    A missing input changes no latent; where all are missing, the latents go on alone, so the result is the same for all
    such samples. The result has the latents as its tokens, and as its vector their mean. Its details, where they are
    asked for, are what each token gets of the cross-attention of its input, as a mean over layers, heads, latents and
    the inputs that are there.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads` and of `cross_heads`.
        latents: K.
        layers: number of layers.
        heads: attention heads among the latents.
        cross_heads: attention heads of the cross-attention.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.
        tied: all layers have the same weights.

    Raises:
        ValueError: `heads` or `cross_heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        latents: Annotated[int, Gt(0)] = 32,
        layers: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 4,
        cross_heads: Annotated[int, Gt(0)] = 1,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.depth = layers
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.latents = Latents(latents, width)
        count = 1 if tied else layers
        self.look = nn.ModuleList(
            nn.ModuleDict({name: CrossLayer(width, cross_heads, dropout) for name in widths}) for _ in range(count)
        )
        self.among = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(count))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B K H], the latents."""
        contexts = {name: linear(features[name].tokens) for name, linear in self.project.items()}  # [B T H] each
        found = self.latents()  # [1 K H]; [B K H] after the first look
        got: dict[str, Tensor | float] = dict.fromkeys(contexts, 0.0)
        for number in range(self.depth):
            place = number % len(self.among)
            for name, part in cast(nn.ModuleDict, self.look[place]).items():
                layer, mask = cast(CrossLayer, part), features[name].mask
                if self.detailed:
                    got[name] = got[name] + layer.weights(found, contexts[name], mask).mean((1, 2))  # [B T]
                seen = layer(found, contexts[name], mask)
                complete = features[name].complete
                found = seen if complete else chosen(seen, there(features[name]).unsqueeze(2), found)
            found = self.among[place](found, None)
        return Features.of(self.norm(found), details=self._attention(features, got) if self.detailed else None)

    def _attention(self, features: Mapping[str, Features], got: Mapping[str, Tensor | float]) -> dict[str, Tensor]:
        """`attention.INPUT` [B T] of each input, of sum 1 over all inputs."""
        count = present(features, got).sum(1, keepdim=True).clamp(min=1) * self.depth  # [B 1]
        return {f"attention.{name}": cast(Tensor, sums) / count for name, sums in got.items()}
