"""Product of experts: each input gives a normal distribution of the fused vector, and they are multiplied.

Wu and Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning", NeurIPS 2018,
https://arxiv.org/abs/1802.05335. As a mixture of such products: Sutter, Daunhawer and Vogt, "Generalized Multimodal
ELBO", ICLR 2021, https://arxiv.org/abs/2105.02470.

    [mu_m, l_m] = W_m x_m + b_m    precision p_m = exp(-l_m), l_m from -10 to 10
    mu = sum_m p_m mu_m / (1 + sum_m p_m)    sigma^2 = 1 / (1 + sum_m p_m)    the 1 is the prior's, N(0, 1)
    training: y = mu + sigma e, e from N(0, 1)    evaluation: y = mu
    penalty: beta KL(N(mu, sigma^2) || N(0, 1)) = beta 1/2 sum_h (mu^2 + sigma^2 - ln sigma^2 - 1)

What differs: in the papers this is the encoder of a generative model; here no input is reconstructed, and the penalty
is that of a variational information bottleneck. In the mixture each product has the prior as a factor, and evaluation
takes the mean of their means.

Axes: B batch, M inputs, D an input's width, N subsets, H fused width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.precision import exactly
from mmkit.layers.vectors import complete, one_token, present, there

LIMIT = 10.0
"""Of the logarithm of an expert's variance: it is neither infinitely sure nor nothing at all."""
MOST = 5
"""Inputs of a mixture, which has 31 products then."""


@dataclass(frozen=True, eq=False)
class Normal:
    """A normal distribution of each number: the mean and the precision, of one shape."""

    mean: Tensor
    precision: Tensor

    def drawn(self) -> Tensor:
        """One draw."""
        return self.mean + torch.randn_like(self.mean) * self.precision.rsqrt()

    def divergence(self) -> Tensor:
        """KL to N(0, 1), summed over the last axis."""
        return 0.5 * (self.mean.square() + 1 / self.precision + self.precision.log() - 1).sum(-1)


class ProductOfExpertsFusion(nn.Module):
    """The product of one normal distribution for each input and of the prior; a draw in training, else its mean.

    A missing input is no factor. Where all are missing, the prior is left: its mean is zero. Precisions are computed in
    float32 at least.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        mixture: in training each sample draws one of the subsets of its inputs, and its product; evaluation takes the
            mean over all subsets. For five inputs at most.
        beta: weight of the divergence from the prior, in training.

    Raises:
        ValueError: `mixture` with more than five inputs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        mixture: bool = False,
        beta: Annotated[float, Ge(0)] = 1e-3,
    ) -> None:
        super().__init__()
        if mixture and len(widths) > MOST:
            raise ValueError(
                f"a mixture of all products is for {MOST} inputs at most; got {len(widths)} ({', '.join(widths)}): use "
                "mixture=false"
            )
        self.width = width
        self.beta = beta
        self.project = nn.ModuleDict({name: nn.Linear(d, 2 * width) for name, d in widths.items()})
        subsets = [subset for subset in itertools.product((False, True), repeat=len(widths)) if any(subset)]
        self.subsets: Tensor | None
        self.register_buffer("subsets", torch.tensor(subsets) if mixture else None, persistent=False)  # [N M]

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with a penalty `prior` in training."""
        weighted, precisions = self._experts(features)
        if self.subsets is None:
            fused, divergence = self._product(weighted, precisions)
        else:
            with exactly(self.subsets.device):
                fused, divergence = self._mixture(weighted, precisions, self.subsets, features)
        found = one_token(fused, features, self.project)
        if divergence is not None:
            found.penalties["prior"] = self.beta * divergence
        return found

    def _experts(self, features: Mapping[str, Features]) -> tuple[list[Tensor], list[Tensor]]:
        """Mean times precision, and precision, [B H] each; zero where an input is missing."""
        weighted, precisions = [], []
        for name, linear in self.project.items():
            found = linear(features[name].vector())
            if found.dtype in {torch.bfloat16, torch.float16}:
                found = found.float()
            mean, spread = found.chunk(2, 1)
            precision = (-spread.clamp(-LIMIT, LIMIT)).exp()
            if not features[name].complete:
                precision = precision * there(features[name])
            weighted.append(mean * precision)
            precisions.append(precision)
        return weighted, precisions

    def _product(self, weighted: list[Tensor], precisions: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The fused vector [B H]; in training the divergence [B]."""
        precision = reduce(torch.add, precisions) + 1
        mean = reduce(torch.add, weighted) / precision
        if not self.training:
            return mean, None
        whole = Normal(mean, precision)
        return whole.drawn(), whole.divergence()

    def _mixture(
        self, weighted: list[Tensor], precisions: list[Tensor], subsets: Tensor, features: Mapping[str, Features]
    ) -> tuple[Tensor, Tensor | None]:
        """The same, of the mixture: the divergence is the mean of those of the subsets."""
        member = subsets.to(weighted[0].dtype)  # [N M]
        precision = member @ torch.stack(precisions, 1) + 1  # [B N H]
        each = Normal(member @ torch.stack(weighted, 1) / precision, precision)
        if complete(features, self.project):
            counts = torch.ones_like(each.mean[..., 0])  # [B N], one where a subset counts
        else:
            absent = ~present(features, self.project)  # [B M]; a subset counts where it has nothing that is missing
            counts = ((absent.to(member.dtype) @ member.T) == 0).to(member.dtype)
        shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
        if not self.training:
            return (shares.unsqueeze(2) * each.mean).sum(1), None
        lots = torch.rand_like(counts).masked_fill(counts == 0, -1)
        chosen = lots.argmax(1)[:, None, None].expand(-1, 1, self.width)  # with nothing there any is the prior
        drawn = Normal(each.mean.gather(1, chosen).squeeze(1), precision.gather(1, chosen).squeeze(1)).drawn()
        return drawn, (shares * each.divergence()).sum(1)
