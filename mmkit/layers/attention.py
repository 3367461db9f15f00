"""Attention and transformer layers that allow rows without any key.

Axes: B batch, T tokens, S tokens attended to, D width, N heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.layers.packing import Packing, worthwhile


class Attention(nn.Module):
    """Multi-head attention. The result of a row whose mask is all False is zero.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762.

    Args:
        width: D of the queries and of the result.
        heads: N; must divide D.
        dropout: of the attention weights, in training.
        context: width of the context that gives keys and values; None is D.
        bias: whether queries, keys and values have one.

    Raises:
        ValueError: `heads` does not divide `width`.

    >>> mask = torch.tensor([[True] * 20, [False] * 20])  # the second row has nothing to attend to
    >>> seen = Attention(64, heads=4, context=256)(torch.rand(2, 5, 64), torch.rand(2, 20, 256), mask)
    >>> seen.shape, bool((seen[1] == 0).all())
    (torch.Size([2, 5, 64]), True)
    """

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, context: int | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by heads {heads}; take heads that divide it")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width, bias=bias)
        self.key_value = nn.Linear(width if context is None else context, 2 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=False)  # without a bias, a row without keys stays zero

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """[B T D] from queries [B T D] and context [B S D'].

        Args:
            queries: [B T D], or [1 T D], the same in every row.
            context: [B S D'].
            mask: [B S], True where the context is real; None where all of it is.
        """
        q = self._queries(queries, context)  # [B N T D/N]
        k, v = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B N S D/N] each
        dropout = self.dropout if self.training else 0.0
        if _under_vmap(q):
            attended = _materialised(q, k, v, mask, dropout)
        else:
            seen = None if mask is None else mask[:, None, None, :]
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
            attended = _zeroed(attended, mask)  # torch gives zero there, other backends do not
        return self.out(attended.transpose(1, 2).flatten(2))

    def packed(self, tokens: Tensor, packing: Packing) -> Tensor:
        """[R D] of the real tokens [R D] of a batch, which look at those of their row; what `forward` gives of them."""
        dropout = self.dropout if self.training else 0.0
        seen = []
        of_groups = zip(
            packing.groups, packing.rows(self.query(tokens)), packing.rows(self.key_value(tokens)), strict=True
        )
        for group, queries, context in of_groups:
            q = queries.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [G N S D/N]
            k, v = context.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [G N S D/N] each
            mask = None if group.count == group.mask.numel() else group.mask[:, None, None, :]
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
            seen.append(attended.transpose(1, 2).flatten(2))
        return self.out(packing.of_rows(seen))

    def weights(self, queries: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """[B N T S], what each query takes of each part of the context, as `forward` does without dropout.

        They sum to 1 over S; in a row without any key they are zero.
        """
        q = self._queries(queries, context)
        keys = self.key_value(context).unflatten(-1, (2, self.heads, -1))[:, :, 0].transpose(1, 2)  # [B N S D/N]
        return _zeroed(_weights(q, keys, mask), mask)

    def _queries(self, queries: Tensor, context: Tensor) -> Tensor:
        """[B N T D/N]; those of all rows are computed once where they are the same."""
        q = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return q.expand(context.shape[0], -1, -1, -1) if q.shape[0] == 1 else q


def _under_vmap(tensor: Tensor) -> bool:
    """Whether a transform of `torch.func` is active; under vmap the fast CPU kernel would run in a loop."""
    if torch.compiler.is_compiling():
        return torch._C._functorch.is_batchedtensor(tensor)  # noqa: SLF001  (the only test that dynamo supports)
    return torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001


def _materialised(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """`scaled_dot_product_attention` by operations that vmap supports: [B N T D], zero in rows without any key."""
    weights = F.dropout(_weights(q, k, mask), dropout).to(v.dtype)  # autocast's softmax is in float32
    return _zeroed(weights @ v, mask)


def _zeroed(values: Tensor, mask: Tensor | None) -> Tensor:
    """[B N ...], zero in rows without any key, whatever the backend gave there; NaN, too."""
    return values if mask is None else torch.where(mask.any(1)[:, None, None, None], values, 0)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """[B N T S], with sum 1 over S; even in rows without any key, which the caller has to zero."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B N T S]
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


def feed_forward(width: int, expansion: int, dropout: float = 0.0, *, bias: bool = True) -> nn.Sequential:
    """The second branch of a pre-norm layer, [... D] to [... D]: norm, linear layer, GELU, dropout, linear layer.

    Args:
        width: D.
        expansion: hidden width in multiples of D.
        dropout: of the hidden layer, in training.
        bias: whether the linear layers have one.
    """
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, expansion * width, bias=bias),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(expansion * width, width, bias=bias),
    )


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: attention over the tokens, then a feed-forward network.

    Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020, https://arxiv.org/abs/2002.04745.

    Args:
        width: D.
        heads: N; must divide D.
        dropout: of attention weights and of both branches, in training.
        expansion: hidden width of the feed-forward network, in multiples of D.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, expansion: int = 2) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.feed_forward = feed_forward(width, expansion, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None, first: int | None = None) -> Tensor:
        """[B T D] from tokens [B T D] with `mask` [B T], True where a token is real; None where all are.

        With `first` only so many tokens, the first ones, are computed, [B first D]: for a last layer, of which no
        others are read. Where much is padding its result is zero, else whatever comes of it.
        """
        packing = worthwhile(mask, self) if first is None else None
        if packing is not None:
            packed = packing.pack(tokens)
            packed = packed + self.dropout(self.attention.packed(self.before_attention(packed), packing))
            return packing.unpack(packed + self.dropout(self.feed_forward(packed)))
        normed = self.before_attention(tokens)
        queries = normed
        if first is not None:
            tokens, queries = tokens[:, :first], normed[:, :first]
        tokens = tokens + self.dropout(self.attention(queries, normed, mask))
        return tokens + self.dropout(self.feed_forward(tokens))

    def weights(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """[B N T T], the weights of the attention in `forward`; see `Attention.weights`."""
        normed = self.before_attention(tokens)
        return self.attention.weights(normed, normed, mask)
