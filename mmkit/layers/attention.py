"""Attention and transformer layers that allow rows without any key.

Axes: B batch, T tokens, S tokens attended to, D width, N heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention. The result of a row whose mask is all False is zero.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762.

    Args:
        width: D of the queries and of the result.
        heads: N; must divide D.
        dropout: of the attention weights, in training.
        context: width of the context that gives keys and values; None is D.

    Raises:
        ValueError: `heads` does not divide `width`.

    >>> mask = torch.tensor([[True] * 20, [False] * 20])  # the second row has nothing to attend to
    >>> seen = Attention(64, heads=4, context=256)(torch.rand(2, 5, 64), torch.rand(2, 20, 256), mask)
    >>> seen.shape, bool((seen[1] == 0).all())
    (torch.Size([2, 5, 64]), True)
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, context: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by heads {heads}; take heads that divide it")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width if context is None else context, 2 * width)
        self.out = nn.Linear(width, width, bias=False)  # without a bias, a row without keys stays zero

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """[B T D] from queries [B T D] and context [B S D'] with `mask` [B S], True where the context is real."""
        q = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B N T D/N]
        k, v = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B N S D/N] each
        dropout = self.dropout if self.training else 0.0
        if _under_vmap(q):
            attended = _materialised(q, k, v, mask, dropout)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=dropout)
        return self.out(attended.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """[B N T S], what each query takes of each part of the context, as `forward` does without dropout.

        They sum to 1 over S; in a row without any key they are zero.
        """
        q = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B N T D/N]
        keys = self.key_value(context).unflatten(-1, (2, self.heads, -1))[:, :, 0].transpose(1, 2)  # [B N S D/N]
        return _weights(q, keys, mask) * mask.any(1)[:, None, None, None]


def _under_vmap(tensor: Tensor) -> bool:
    """Whether a transform of `torch.func` is active; under vmap the fast CPU kernel would run in a loop."""
    if torch.compiler.is_compiling():
        return torch._C._functorch.is_batchedtensor(tensor)  # noqa: SLF001  (the only test that dynamo supports)
    return torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001


def _materialised(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float) -> Tensor:
    """`scaled_dot_product_attention` by operations that vmap supports: [B N T D], zero in rows without any key."""
    weights = F.dropout(_weights(q, k, mask), dropout).to(v.dtype)  # autocast's softmax is in float32
    return (weights @ v) * mask.any(1)[:, None, None, None]


def _weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """[B N T S], with sum 1 over S; even in rows without any key, which the caller has to zero."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B N T S]
    return scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min).softmax(-1)


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: attention over the tokens (or over a context), then a feed-forward network.

    Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020, https://arxiv.org/abs/2002.04745.

    Args:
        width: D.
        heads: N; must divide D.
        dropout: of attention weights and of both branches, in training.
        context: width of the context of cross-attention; None is self-attention.
        expansion: hidden width of the feed-forward network, in multiples of D.
    """

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, context: int | None = None, expansion: int = 2
    ) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.before_context = None if context is None else nn.LayerNorm(context)
        self.attention = Attention(width, heads, dropout, context)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """[B T D] from tokens [B T D]; `mask` is that of the keys: of the tokens, or of the context [B S D']."""
        normed = self.before_attention(tokens)
        if context is None or self.before_context is None:
            attended = self.attention(normed, normed, mask)
        else:
            attended = self.attention(normed, self.before_context(context), mask)
        tokens = tokens + self.dropout(attended)
        return tokens + self.dropout(self.feed_forward(tokens))

    def weights(self, tokens: Tensor, mask: Tensor, context: Tensor | None = None) -> Tensor:
        """[B N T S], the weights of the attention in `forward`; see `Attention.weights`."""
        normed = self.before_attention(tokens)
        seen = normed if context is None or self.before_context is None else self.before_context(context)
        return self.attention.weights(normed, seen, mask)
