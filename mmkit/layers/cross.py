"""A layer of cross-attention: tokens look at a context, then pass a feed-forward network.

Axes: B batch, T tokens, S tokens of the context, D width, N heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.layers.attention import Attention, feed_forward


class CrossLayer(nn.Module):
    """Pre-norm layer of cross-attention, `x + tanh(a) attention(norm x, norm context)`, `x + tanh(b) network(norm x)`.

    Tokens and context have a norm each. Without gates the factors are 1. Gates are those of Alayrac et al., "Flamingo:
    a Visual Language Model for Few-Shot Learning", NeurIPS 2022, https://arxiv.org/abs/2204.14198: they start at zero,
    where the layer changes nothing, and nothing behind them has a gradient. In a row without any context the attention
    is zero.

    Args:
        width: D.
        heads: N; must divide D.
        dropout: of attention weights and of both branches, in training.
        context: width of the context; None is D.
        expansion: hidden width of the feed-forward network, in multiples of D.
        gated: whether each branch has a gate.
        bias: whether the linear layers have one.

    Raises:
        ValueError: `heads` does not divide `width`.

    >>> layer = CrossLayer(8, heads=2, context=6, gated=True)
    >>> tokens, context = torch.rand(2, 3, 8), torch.rand(2, 5, 6)
    >>> bool((layer(tokens, context, None) == tokens).all())
    True
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        *,
        context: int | None = None,
        expansion: int = 2,
        gated: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.before_context = nn.LayerNorm(width if context is None else context)
        self.attention = Attention(width, heads, dropout, context, bias=bias)
        self.feed_forward = feed_forward(width, expansion, dropout, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.gates = nn.Parameter(torch.zeros(2)) if gated else None  # a and b

    def forward(self, tokens: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """[B T D] from tokens [B T D], or [1 T D], the same in every row, and context [B S D'].

        Args:
            tokens: as above.
            context: as above.
            mask: [B S], True where the context is real; None where all of it is.
        """
        attended = self.dropout(self.attention(self.before_attention(tokens), self.before_context(context), mask))
        if self.gates is None:
            tokens = tokens + attended
            return tokens + self.dropout(self.feed_forward(tokens))
        first, second = self.gates.tanh().unbind()
        tokens = tokens + first * attended
        return tokens + second * self.dropout(self.feed_forward(tokens))

    def weights(self, tokens: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """[B N T S], the weights of the attention in `forward`; see `Attention.weights`."""
        return self.attention.weights(self.before_attention(tokens), self.before_context(context), mask)
