"""Bilinear attention: every pair of tokens of two inputs is weighed, and the weighted products are added.

Kim, Jun and Zhang, "Bilinear Attention Networks", NeurIPS 2018, https://arxiv.org/abs/1805.07932 (BAN). The authors'
code was read (jnhwkim/ban-vqa: bc.py, attention.py, base_model.py). What differs:

- Glimpses stand side by side; there each one adds its result to every token of the second input, which the next reads.
- The scores have no bias: one number added to all scores of a softmax changes nothing, and never trains.
- Weight normalisation is left out, and so is the ReLU of the factors that the code has beside that of the scores. The
  vectors p start with deviation (rank H)^-1/2, so that all pairs weigh about the same.
- Dropout has one rate, on the result of the glimpses; there are 4 glimpses, as in the code.
- Padding of both inputs is masked; the code masks the first alone, by tokens that are zero, behind autograd's back.

Axes: B batch, T and S tokens of the two inputs, D and E their widths, H fused width, G glimpses, R = rank H.

    A_g = softmax over all pairs (i, j) of sum_k p_gk relu(X U')_ik relu(Y V')_jk    [B T S],   U' [D R], V' [E R]
    b_g = sum_ij A_gij (X U_g)_i (Y V_g)_j    [B H],   U_g [D H], V_g [E H];   y = W [b_1; ...; b_G] + c
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.tokens import first_of_missing
from mmkit.layers.vectors import one_token


class BilinearAttentionFusion(nn.Module):
    """Sum of the products of all pairs of tokens, weighed by G softmaxes over the pairs, each with its own projections.

    A missing input is a factor 1 in products and scores, so the other one is attended to alone; where both are missing,
    the result is the same for all such samples. Its details, where they are asked for, are the sums of the weights over
    the pairs that a token is in, as a mean over glimpses.

    Args:
        widths: D of each of the two inputs, by name.
        width: H, the width of the fused features.
        glimpses: G, of softmaxes over the pairs.
        rank: of the scores, in multiples of H.
        dropout: rate of dropout on the results of the glimpses, in training.

    Raises:
        ValueError: there are not two inputs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 64,
        glimpses: Annotated[int, Gt(0)] = 4,
        rank: Annotated[int, Gt(0)] = 3,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        if len(widths) != 2:
            raise ValueError(f"pairs of tokens are of two inputs; got {len(widths)} ({', '.join(widths)})")
        self.width = width
        self.glimpses = glimpses
        self.rank = rank * width
        self.detailed = False
        # Of each input, the projection for the scores and those of all glimpses: one matrix product.
        self.project = nn.ModuleDict({n: nn.Linear(d, (rank + glimpses) * width) for n, d in widths.items()})
        self.scores = nn.Parameter(torch.randn(glimpses, self.rank) * self.rank**-0.5)  # p
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(glimpses * width, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        first, second = self.project
        left, xs, of_left = self._projected(first, features[first])
        right, ys, of_right = self._projected(second, features[second])
        unreal = ~(of_left.unsqueeze(2) & of_right.unsqueeze(1))  # [B T S], of at least one pair in each row False
        seen, weights = [], []
        for score, x, y in zip(self.scores, xs, ys, strict=True):  # one after the other is faster than all at once
            scores = (left * score) @ right.transpose(1, 2)  # [B T S]
            least = torch.finfo(scores.dtype).min
            weights.append(scores.masked_fill(unreal, least).flatten(1).softmax(1).view_as(scores))
            seen.append(((weights[-1].to(y.dtype) @ y) * x).sum(1))  # [B H]; the pairs themselves are never H wide
        found = one_token(self.mix(self.dropout(torch.cat(seen, 1))), features, self.project)
        return replace(found, details=self._attention(weights, features)) if self.detailed else found

    def remarks(self, features: Mapping[str, Features]) -> list[str]:
        """That there is no choice, where each input has one token."""
        if any(features[name].tokens.shape[1] > 1 for name in self.project):
            return []
        first, second = self.project
        return [f"{first} and {second} have one token each, so one pair gets all attention: a product of linear maps"]

    def _projected(self, name: str, of_input: Features) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """For the scores [B T R], for each glimpse [B T H], and the mask [B T]; ones where the input is missing."""
        both, mask = self.project[name](of_input.tokens), of_input.mask
        if not of_input.complete:
            stands = first_of_missing(of_input)
            both, mask = both.masked_fill(stands.unsqueeze(2), 1), mask | stands
        scored, *products = both.split((self.rank, *(self.width,) * self.glimpses), 2)
        return scored.relu(), tuple(products), mask

    def _attention(self, weights: list[Tensor], features: Mapping[str, Features]) -> dict[str, Tensor]:
        """`attention.INPUT` [B T] of each input, of sum 1 over both where one is there."""
        mean = torch.stack(weights).mean(0)  # [B T S]
        got = [sums * features[name].mask for name, sums in zip(self.project, (mean.sum(2), mean.sum(1)), strict=True)]
        total = torch.cat(got, 1).sum(1, keepdim=True)
        total = total.where(total > 0, 1)
        return {f"attention.{name}": each / total for name, each in zip(self.project, got, strict=True)}
