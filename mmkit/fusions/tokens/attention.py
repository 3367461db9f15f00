"""Transformer over the tokens of all inputs.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762; over the joined tokens of
several modalities as in Kim, Son and Kim, "ViLT: Vision-and-Language Transformer Without Convolution or Region
Supervision", ICML 2021, https://arxiv.org/abs/2102.03334, which adds an embedding of the modality to each token. What
differs: the inputs are encoded already, so one layer is enough to begin with, and positions are left to the encoders;
layers normalise before attention and feed-forward network, which has GELU and twice the width of a token instead of
four times.

Axes: B batch, T tokens of all inputs, D an input's width, H fused width.

>>> fused = AttentionFusion({"image": 512, "title": 256}, width=64)(
...     {"image": Features.of(torch.rand(8, 49, 512)), "title": Features.of(torch.rand(8, 20, 256))}
... )
>>> fused.tokens.shape, fused.vector().shape
(torch.Size([8, 69, 64]), torch.Size([8, 64]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.tokens import attention_shares, joined_tokens


class AttentionFusion(nn.Module):
    """Pre-norm transformer layers over the tokens of all inputs.

    Missing inputs and padding are masked as keys. The result has all tokens and one vector: their masked mean, or the
    state of a learned token. Its details, where they are asked for, are the attention that each token gets.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `heads`.
        layers: number of transformer layers.
        heads: attention heads of each layer.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.
        pool: the fused vector: the "mean" of all tokens, or a learned token ("cls") that attends to them.

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
        pool: Literal["mean", "cls"] = "mean",
    ) -> None:
        super().__init__()
        self.width = width
        self.detailed = False
        # The bias of a projection is the embedding of its input: both are one vector added to each of its tokens.
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.cls = nn.Parameter(torch.randn(width) * 0.02) if pool == "cls" else None
        self.layers = nn.ModuleList(TransformerLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B T H], the tokens of all inputs one after the other."""
        tokens, mask = joined_tokens(features, self.project)  # [B T H], [B T]
        seen = mask
        if self.cls is not None:
            tokens = torch.cat([self.cls.to(tokens.dtype).expand(tokens.shape[0], 1, -1), tokens], 1)  # [B 1+T H]
            seen = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
        weights: list[Tensor] = []
        for layer in self.layers:
            if self.detailed:
                weights.append(cast(TransformerLayer, layer).weights(tokens, seen))
            tokens = layer(tokens, seen)
        tokens = self.norm(tokens)
        details = self._attention(weights, features, mask) if self.detailed else None
        if self.cls is None:
            return Features.of(tokens, mask, details=details)
        return Features.of(tokens[:, 1:], mask, tokens[:, 0], details=details)

    def _attention(
        self, weights: Sequence[Tensor], features: Mapping[str, Features], mask: Tensor
    ) -> dict[str, Tensor]:
        """`attention.INPUT` [B T] of each input: what its tokens get, as a mean over layers, heads and real queries.

        Where the vector is the state of the learned token, that is the query of the last layer, and counts alone; what
        it gives to itself is left out of the shares.
        """
        mean = torch.stack([each.mean(1) for each in weights], 1)  # [B L T S]
        if self.cls is None:
            got = (mean.mean(1) * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)  # [B S]
        else:
            got = mean[:, -1, 0, 1:]
            total = got.sum(1, keepdim=True)
            got = got / total.where(total > 0, 1)
        return attention_shares(features, self.project, got)
