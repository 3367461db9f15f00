"""A layer of a transformer's decoder: tokens look at each other, then at a context.

Axes: B batch, K queries, T tokens of the context, D width, N heads.
"""

from __future__ import annotations

from torch import Tensor, nn

from mmkit.layers.attention import Attention, feed_forward


class DecoderLayer(nn.Module):
    """Pre-norm layer of self-attention, in some of cross-attention, and of a feed-forward network; in two parts.

    `among` is the self-attention of the queries, `forward` the rest.

    Args:
        width: D.
        heads: of each attention; must divide D.
        dropout: of attention weights and of all branches, in training.
        looks: whether it has cross-attention.
    """

    def __init__(self, width: int, heads: int, dropout: float, *, looks: bool) -> None:
        super().__init__()
        self.looks = looks
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        if looks:
            self.before_cross = nn.LayerNorm(width)
            self.before_context = nn.LayerNorm(width)
            self.cross = Attention(width, heads, dropout)
        self.feed_forward = feed_forward(width, 2, dropout)
        self.dropout = nn.Dropout(dropout)

    def among(self, queries: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B K D] after the self-attention of queries [B K D], of which `mask` [B K] says what is real; None is all."""
        normed = self.before_attention(queries)
        return queries + self.dropout(self.attention(normed, normed, mask))

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B K D] from queries after `among`, [B K D] or [1 K D], and tokens [B T D] with their mask [B T]."""
        if self.looks:
            seen = self.cross(self.before_cross(queries), self.before_context(tokens), mask)
            queries = queries + self.dropout(seen)
        return queries + self.dropout(self.feed_forward(queries))

    def weights(self, queries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B N K T], the weights of the cross-attention in `forward`; see `Attention.weights`."""
        return self.cross.weights(self.before_cross(queries), self.before_context(tokens), mask)
