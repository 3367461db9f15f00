"""State-space layers: recurrences over tokens in both directions, computed chunk by chunk as matrix products.

Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality",
ICML 2024, https://arxiv.org/abs/2405.21060.

Axes: B batch, T tokens, H width, E inner width, N heads, P width of a head, S states of each number of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK = 64
"""Tokens of a chunk: within one, a matrix of all pairs; between chunks, the states alone."""


def scan(values: Tensor, decay: Tensor, keys: Tensor, queries: Tensor, chunk: int = CHUNK) -> Tensor:
    """[B T N P]: y_t = q_t h_t of the states h_t = exp(decay_t) h_(t-1) + k_t v_t, which are [S P] of each head.

    The steps are no loop. Within a chunk y = (q k^T * L) v, L_ts = exp(decay_(s+1) + ... + decay_t) for s <= t; what a
    chunk leaves to those behind it is its last state. A step with a value of zero and no decay changes nothing.

    Args:
        values: v, [B T N P].
        decay: the logarithm of what is kept of the state, [B T N], not above zero.
        keys: k, [B T S], the same for all heads.
        queries: q, [B T S].
        chunk: tokens of a chunk, which changes the result by rounding alone.

    >>> one = torch.ones(1, 3, 1)  # the sum so far
    >>> scan(one.unsqueeze(3), 0 * one, one, one).flatten()
    tensor([1., 2., 3.])
    """
    length, size = values.shape[1], min(chunk, values.shape[1])
    if behind := -length % size:
        values = F.pad(values, (0, 0, 0, 0, 0, behind))
        decay, keys, queries = (F.pad(each, (0, 0, 0, behind)) for each in (decay, keys, queries))
    v, a, k, q = (each.unflatten(1, (-1, size)) for each in (values, decay, keys, queries))  # [B C L ...], C chunks
    total = a.transpose(2, 3).cumsum(3)  # [B C N L]
    # Above the diagonal the exponent is positive and may be great; there the products are zero.
    within = (total.unsqueeze(4) - total.unsqueeze(3)).clamp(max=0).exp()  # [B C N L L]
    pairs = (q @ k.transpose(2, 3)).tril().unsqueeze(2)  # [B C 1 L L]
    found = ((pairs * within) @ v.transpose(2, 3)).transpose(2, 3)  # [B C L N P]
    if v.shape[1] > 1:
        ends = total[..., -1]  # [B C N]
        rest = (
            (ends.unsqueeze(3) - total).exp().transpose(2, 3)
        )  # [B C L N], what is kept of a token at the chunk's end
        states = k.transpose(2, 3) @ (v * rest.unsqueeze(4)).flatten(3)  # [B C S N*P]
        whole = ends.cumsum(1)
        gap = (
            ((whole - ends).unsqueeze(2) - whole.unsqueeze(1)).clamp(max=0).exp()
        )  # [B C C N], kept from one to another
        earlier = torch.ones_like(gap[0, :, :, 0]).tril(-1).unsqueeze(2)
        given = states.unflatten(3, v.shape[3:])  # [B C S N P]
        starts = torch.einsum("bcdn,bdsnp->bcsnp", gap * earlier, given).flatten(3)  # [B C S N*P]
        kept = total.exp().transpose(2, 3).unsqueeze(4)  # [B C L N 1]
        found = found + (q @ starts).unflatten(3, v.shape[3:]) * kept
    return found.flatten(1, 2)[:, :length]


class StateSpaceLayer(nn.Module):
    """Pre-norm layer: each token takes what states have gathered on the way to it, from the front and from behind.

        [z, v, k, q, k', q', r, r'] = W norm(x)    d = softplus(r + b) where the token is real, else 0
        h_t = exp(-d_t e^A) h_(t-1) + d_t k_t v_t    y_t = q_t h_t; y' likewise from the last token to the first
        x <- x + W_o norm((y + y' + D v) * silu(z))

    v, k and q pass a SiLU. Steps, decays and what is kept are in float32 at least. A token that is not real is no step
    in either direction. A, b and D are one number a head, as is d of each token; k and q are the same for all heads.

    Args:
        width: H.
        heads: N; must divide the inner width.
        states: S.
        expansion: inner width in multiples of H.
        dropout: of the branch, in training.
        decay: whether states decay; otherwise A is left out, and all tokens on the way count alike.

    Raises:
        ValueError: `heads` does not divide the inner width.

    >>> layer = StateSpaceLayer(16, heads=4, states=8)
    >>> layer(torch.rand(2, 100, 16), torch.rand(2, 100) > 0.5).shape
    torch.Size([2, 100, 16])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        states: int,
        *,
        expansion: int = 2,
        dropout: float = 0.0,
        decay: bool = True,
    ) -> None:
        super().__init__()
        inner = expansion * width
        if inner % heads:
            raise ValueError(
                f"the inner width {inner} ({expansion} times {width}) is not divisible by heads {heads}; "
                "take heads that divide it"
            )
        self.heads = heads
        self.sizes = (inner, inner, 4 * states, 2 * heads)
        self.before = nn.LayerNorm(width)
        self.read = nn.Linear(width, sum(self.sizes), bias=False)
        # Steps of .001 to .1 and rates of 1 to 16 at the start, as in the authors' code.
        step = torch.exp(torch.empty(2 * heads).uniform_(math.log(1e-3), math.log(0.1)))
        self.step = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # softplus gives it back
        self.rate = nn.Parameter(torch.empty(2 * heads).uniform_(1, 16).log()) if decay else None
        self.skip = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """[B T H] from tokens [B T H] with `mask` [B T], True where a token is real; None where all are."""
        gate, values, shared, raw = self.read(self.before(tokens)).split(self.sizes, 2)
        values = F.silu(values).unflatten(2, (self.heads, -1))  # [B T N P]
        precise = torch.promote_types(raw.dtype, torch.float32)
        step = F.softplus(raw.to(precise) + self.step)  # [B T 2N]
        if mask is not None:
            step = step.masked_fill(~mask.unsqueeze(2), 0)
        decay = torch.zeros_like(step) if self.rate is None else -step * self.rate.to(precise).exp()
        # The way back is the way of the reversed tokens: both are one batch.
        forth, back = step.chunk(2, 2)  # [B T N] each
        near, far = F.silu(shared).chunk(2, 2)  # [B T 2S] each
        sources = _both(values * forth.unsqueeze(3), values * back.unsqueeze(3))
        keys, queries = _both(near, far).chunk(2, 2)
        found = scan(sources, _both(*decay.chunk(2, 2)), keys, queries)  # [2B T N P]
        one, other = found.unflatten(0, (2, -1)).unbind(0)
        mixed = one + other.flip(1) + values * self.skip.unsqueeze(1)  # [B T N P]
        return tokens + self.dropout(self.out(self.norm(mixed.flatten(2) * F.silu(gate))))


def _both(forth: Tensor, back: Tensor) -> Tensor:
    """[2B T ...], the second half from the last token to the first."""
    return torch.stack([forth, back.flip(1)]).flatten(0, 1)
