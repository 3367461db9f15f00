"""Layers that several components are built of, all correct under a mask.

Axes: B batch, T tokens, S tokens attended to, D width, N heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention whose mask may leave a row without any key; such a row gets zero.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762.

    Args:
        width: D of the queries and of the result.
        heads: N; must divide D.
        dropout: of the attention weights, in training.
        context: D of keys and values where it is another.

    Raises:
        ValueError: `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, context: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by heads {heads}; take heads that divide it")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width if context is None else context, 2 * width)
        self.out = nn.Linear(width, width, bias=False)  # without a bias, a row that sees nothing stays zero

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """[B T D] from queries [B T D] over context [B S D'], of which `mask` [B S] says what is real."""
        q = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B N T D/N]
        k, v = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B N S D/N] each
        dropout = self.dropout if self.training else 0.0
        if _under_vmap(q):
            seen = _materialised(q, k, v, mask, dropout)
        else:
            seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=dropout)
        return self.out(seen.transpose(1, 2).flatten(2))


def _under_vmap(tensor: Tensor) -> bool:
    """Whether a transform of `torch.func` is at work, for which the fast kernel of CPUs has no rule but a loop."""
    if torch.compiler.is_compiling():
        return torch._C._functorch.is_batchedtensor(tensor)  # noqa: SLF001  (the one question that dynamo understands)
    return torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001


def _materialised(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float) -> Tensor:
    """What `scaled_dot_product_attention` computes, by operations that vmap knows: [B N T D], zero without any key."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B N T S]
    scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = F.dropout(scores.softmax(-1), dropout).to(v.dtype)  # autocast's softmax is in float32
    return (weights @ v) * mask.any(1)[:, None, None, None]


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: attention over the tokens (or over a context), then a feed-forward network.

    Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020, https://arxiv.org/abs/2002.04745.

    Args:
        width: D.
        heads: N; must divide D.
        dropout: of attention weights and of both branches, in training.
        context: D of the context, where the layer looks at one.
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
        """[B T D] from tokens [B T D]; `mask` is that of what is attended to: the tokens, or context [B S D']."""
        normed = self.before_attention(tokens)
        if context is None or self.before_context is None:
            attended = self.attention(normed, normed, mask)
        else:
            attended = self.attention(normed, self.before_context(context), mask)
        tokens = tokens + self.dropout(attended)
        return tokens + self.dropout(self.feed_forward(tokens))


class Recurrent(nn.Module):
    """LSTM or GRU over padded sequences; real steps come first in every row.

    Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997, https://doi.org/10.1162/neco.1997.9.8.1735;
    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014, https://arxiv.org/abs/1406.1078.

    Args:
        size: width of a step of the input.
        width: D of a step of the result; even where bidirectional.
        cell: "lstm" or "gru".
        layers: stacked.
        bidirectional: half of the width runs backwards.
        dropout: between layers, in training.
    """

    def __init__(self, size: int, width: int, *, cell: str, layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        if bidirectional and width % 2:
            raise ValueError(f"a bidirectional network needs an even width; got {width}")
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.cell = kind(
            size,
            width // 2 if bidirectional else width,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """[B T D] from steps [B T size]; what stands beyond `mask` [B T] is not read."""
        # The packing refuses length 0: a missing row is run over one step, which the caller's mask then hides.
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        states = self.cell(packed)[0]
        return nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=steps.shape[1])[0]


def masked_group_norm(x: Tensor, mask: Tensor, norm: nn.GroupNorm) -> Tensor:
    """What a group normalisation gives each row without its padding: only real steps count.

    Args:
        x: [B C T].
        mask: [B T], True where a step is real.
        norm: whose groups, weights and epsilon are taken.
    """
    dtype = x.dtype
    groups = x.unflatten(1, (norm.num_groups, -1))  # [B G C/G T]
    if dtype != torch.float64:
        groups = groups.float()  # also under autocast: sums over a clip are long
    real = mask[:, None, None]
    count = real.sum(3, keepdim=True).clamp(min=1) * groups.shape[2]
    mean = groups.masked_fill(~real, 0).sum((2, 3), keepdim=True) / count
    centred = (groups - mean).masked_fill(~real, 0)
    variance = centred.square().sum((2, 3), keepdim=True) / count
    normal = (centred * (variance + norm.eps).rsqrt()).flatten(1, 2)  # [B C T]
    if norm.affine:
        normal = normal * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)
    return normal.to(dtype)


def pooled(tokens: Tensor, mask: Tensor, how: str) -> Tensor | None:
    """A summary [B D] of tokens, padding left out, zero where nothing is there; None where none is asked for.

    Args:
        tokens: [B T D].
        mask: [B T], True where a token is real.
        how: "mean", "max", "cls" (the first token) or "none".
    """
    if how == "mean":
        return tokens.masked_fill(~mask.unsqueeze(-1), 0).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    if how == "cls":
        return tokens[:, 0]
    if how == "max":
        least = torch.finfo(tokens.dtype).min
        greatest = tokens.masked_fill(~mask.unsqueeze(-1), least).amax(1)
        return torch.where(mask.any(1, keepdim=True), greatest, 0)
    return None
