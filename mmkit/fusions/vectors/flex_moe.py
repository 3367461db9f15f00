"""Flex-MoE: a transformer over one token an input, a learned one where it is missing, with experts of what is missing.

Yun et al., "Flex-MoE: Modeling Arbitrary Modality Combination via the Flexible Mixture-of-Experts", NeurIPS 2024,
https://arxiv.org/abs/2410.08245. The authors' code was read (UNITES-Lab/flex-moe, models.py, moe_module.py, main.py).
What differs:

- One token an input, its vector; there 16, cut out of it, with embeddings of their places.
- Layers are pre-norm, with a residual around the attention, which the code has lost.
- The penalty that spreads complete samples over the experts is that of Switch Transformers, and that of incomplete
  ones is left out: their experts are given. Training does not begin with epochs of complete samples alone.
- 8 experts of 128 numbers, of which a token is sent to 2; there 16 of twice the width, and 4. A row without any input
  has an embedding of its own.

The embeddings stand here, and not before the fusion as those of `train.missing=bank` do: behind these every input is
there, and a router could not know what is missing.

Axes: B batch, M inputs, D an input's width, H fused width, E experts, F their hidden width.

    t_m = W_m x_m + b_m where the input is there, else v_(pattern, m)    X = [t_1; ...; t_M]
    layers 1, 3, ...: X <- X + Attention(X), X <- X + sum_e g_e E_e(X), g = softmax over the k greatest of G X + noise
    layers 2, 4, ...: a transformer layer        y = W [norm(t_1); ...; norm(t_M)] + b
    penalties: route of rows that lack an input -log softmax(G X)_(expert of the pattern)  +  balance of the others
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.attention import Attention, TransformerLayer
from mmkit.layers.experts import Experts
from mmkit.layers.precision import exactly
from mmkit.layers.routing import imbalance, kept
from mmkit.layers.vectors import complete, one_token, present

MOST = 6
"""Inputs: there are 63 patterns of what is missing, and an embedding of each input in each."""


class FlexMoeFusion(nn.Module):
    """Attention among the inputs, then for each of them a few experts of several, chosen by a router that is taught.

    Which inputs are missing is the pattern of a sample. Each pattern has its embeddings, and its expert, to which the
    tokens of such samples learn to go: the pattern with place i, as a binary number less 1, has expert
    1 + i mod (E - 1). The first is of complete samples. All is computed in the precision of the weights, also under
    autocast: rounding must not change what a router chooses. The weights of the experts, [B M E], a mean over layers,
    are the detail `experts`, where it is asked for. In evaluation nothing is drawn, and there are no penalties.

    Args:
        widths: D of each input, by name; six at most.
        width: H, the width of the fused features; a multiple of `heads`.
        layers: number of layers; of two neighbours, the first has experts.
        heads: attention heads of each layer.
        experts: E, in each layer that has them.
        top: how many a token is sent to; with as many as there are, or more, all are mixed, without noise.
        hidden: F, hidden width of each expert.
        dropout: rate of dropout on attention weights and on both branches of a layer, in training.
        route: weight of the penalty that teaches routers the expert of a pattern, in training.
        balance: weight of the penalty that spreads complete samples over the experts, in training.

    Raises:
        ValueError: there are more than six inputs, or `heads` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        layers: Annotated[int, Gt(0)] = 2,
        heads: Annotated[int, Gt(0)] = 8,
        experts: Annotated[int, Ge(2)] = 8,
        top: Annotated[int, Gt(0)] = 2,
        hidden: Annotated[int, Gt(0)] = 128,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
        route: Annotated[float, Ge(0)] = 0.01,
        balance: Annotated[float, Ge(0)] = 0.01,
    ) -> None:
        super().__init__()
        if len(widths) > MOST:
            raise ValueError(
                f"flex-moe is for {MOST} inputs at most, since it learns what stands in for each pattern of missing "
                f"ones; got {len(widths)} ({', '.join(widths)})"
            )
        self.width = width
        self.route = route
        self.balance = balance
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.bank = nn.Parameter(0.02 * torch.randn(2 ** len(widths) - 1, len(widths), width))
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, dropout)
            if number % 2
            else ExpertLayer(width, heads, experts=experts, top=top, hidden=hidden, dropout=dropout)
            for number in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(len(widths) * width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with penalties `route` and `balance` in training."""
        with exactly(self.bank.device):
            return self._fused(features)

    def _fused(self, features: Mapping[str, Features]) -> Features:
        vectors = {name: features[name].vector().to(self.bank.dtype) for name in self.project}
        tokens = torch.stack([linear(vectors[name]) for name, linear in self.project.items()], 1)  # [B M H]
        whole = complete(features, self.project)
        there = present(features, self.project)  # [B M]
        pattern = self._patterns(there)  # [B]
        if not whole:
            tokens = torch.where(there.unsqueeze(2), tokens, self.bank.index_select(0, pattern))
        routed: list[tuple[Tensor, Tensor]] = []
        for layer in self.layers:
            if isinstance(layer, ExpertLayer):
                tokens, scores, gates = layer(tokens)
                routed.append((scores, gates))
            else:
                tokens = layer(tokens, None)
        found = one_token(self.mix(self.norm(tokens).flatten(1)), features, self.project)
        if self.training:
            found.penalties.update(self._penalties([scores for scores, _ in routed], there.all(1), pattern))
        if not self.detailed:
            return found
        return replace(found, details={"experts": torch.stack([gates for _, gates in routed]).mean(0)})

    def _patterns(self, there: Tensor) -> Tensor:
        """[B], the place of each row's pattern, from [B M]; 0 where nothing is missing, whose row is not read."""
        powers = 2 ** torch.arange(there.shape[1], device=there.device)
        return ((~there * powers).sum(1) - 1).clamp(min=0)

    def _penalties(self, scores: list[Tensor], full: Tensor, pattern: Tensor) -> dict[str, Tensor]:
        """[B] each, a mean over layers and tokens: `route` of each row, `balance` the same in all of them.

        Args:
            scores: [B M E] of each layer with experts.
            full: [B] bool, where nothing is missing.
            pattern: [B].
        """
        every = torch.stack(scores, 2)  # [B M L E]
        expert = 1 + pattern.remainder(every.shape[3] - 1)  # [B]
        places = expert.view(-1, 1, 1, 1).expand(*every.shape[:3], 1)
        missed = -every.log_softmax(3).gather(3, places).mean((1, 2, 3))  # [B]
        counted = full.unsqueeze(1).expand(every.shape[:2]).flatten()
        top = next(layer.top for layer in self.layers if isinstance(layer, ExpertLayer))
        uneven = torch.stack([imbalance(each.flatten(0, 1), top, counted) for each in scores]).mean()
        return {
            "route": self.route * missed.masked_fill(full, 0),
            "balance": (self.balance * uneven).expand(full.shape[0]),
        }


class ExpertLayer(nn.Module):
    """A transformer layer whose feed-forward network is a few experts of several, chosen for each token.

    Args:
        width: H.
        heads: of the attention; must divide H.
        experts: E.
        top: how many a token is sent to.
        hidden: F.
        dropout: of attention weights and of both branches, in training.
    """

    def __init__(self, width: int, heads: int, *, experts: int, top: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.top = top
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.before_experts = nn.LayerNorm(width)
        self.experts = Experts(experts, width, hidden=hidden, out=width)
        self.route = nn.Linear(width, experts, bias=False)
        self.noise = nn.Linear(width, experts, bias=False) if top < experts else None
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)  # the same noise for all at the start
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [B M H], scores of the experts [B M E], noisy in training, and their weights [B M E]; from [B M H]."""
        normed = self.before_attention(tokens)
        tokens = tokens + self.dropout(self.attention(normed, normed, None))
        normed = self.before_experts(tokens)
        scores = self.route(normed)
        if self.training and self.noise is not None:
            scores = scores + torch.randn_like(scores) * F.softplus(self.noise(normed))
        gates = kept(scores, self.top).softmax(2)
        found = self.experts(normed.flatten(0, 1), gates.flatten(0, 1)).unflatten(0, gates.shape[:2])
        return tokens + self.dropout(found), scores, gates
