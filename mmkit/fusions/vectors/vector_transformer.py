"""Transformer over one token an input and a learned token, whose state is the result.

Rheude, Eils and Wild, "Fusion or Confusion? Multimodal Complexity Is Not All You Need", 2025,
https://arxiv.org/abs/2512.22991: a transformer over projected vectors that no other method beat reliably there. Its
abstract was read, not its code; the form is that of AutoGluon-Multimodal (`fusion_transformer`, 192 wide, 3 layers, 8
heads) and of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021,
https://arxiv.org/abs/2106.11959. What differs: 2 layers, 128 wide, which suit small data; feed-forward networks have
GELU and twice the width of a token.

Axes: B batch, M inputs, D an input's width, H fused width.

>>> fusion = VectorTransformerFusion({"image": 512, "title": 256}, width=64)
>>> fusion({"image": Features.of(torch.rand(8, 512)), "title": Features.of(torch.rand(8, 49, 256))}).vector().shape
torch.Size([8, 64])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.latents import Latents
from mmkit.layers.vectors import complete, one_token, present


class VectorTransformerFusion(nn.Module):
    """Pre-norm transformer layers over `[cls; W_1 x_1 + b_1; ...; W_M x_M + b_M]`, [B 1+M H]; the result is norm(cls).

    A missing input is masked as a key, so the result is that of a model without its token; where all are missing, it is
    that of the learned token alone. The order of the inputs does not matter: what an input is, its projection says. Its
    details, where they are asked for, are what the learned token takes of each input in the last layer,
    `weight.INPUT` [B]; their sum is 1.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads`.
        layers: number of transformer layers.
        heads: attention heads of each layer.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        layers: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 8,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.cls = Latents(1, width)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        vectors = [linear(features[name].vector()) for name, linear in self.project.items()]
        tokens = self.cls.before(torch.stack(vectors, 1))  # [B 1+M H]
        mask = None
        if not complete(features, self.project):
            mask = F.pad(present(features, self.project), (1, 0), value=True)  # [B 1+M]
        *earlier, last = (cast(TransformerLayer, layer) for layer in self.layers)
        for layer in earlier:
            tokens = layer(tokens, mask)
        state = self.norm(last(tokens, mask, first=1).squeeze(1))
        found = one_token(state, features, self.project)
        return replace(found, details=self._weights(last, tokens, mask)) if self.detailed else found

    def _weights(self, last: TransformerLayer, tokens: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """`weight.INPUT` [B] of each input, a mean over heads; what the token takes of itself is left out."""
        got = last.weights(tokens, mask)[:, :, 0, 1:].mean(1)  # [B M]
        total = got.sum(1, keepdim=True)
        shares = got / total.where(total > 0, 1)
        return {f"weight.{name}": share for name, share in zip(self.project, shares.unbind(1), strict=True)}
