"""Adaptive gradient modulation: what an input gives to the output has a weaker gradient while it is far ahead.

Li, Li, Hu, Lei, Li and Zhang, "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023,
https://arxiv.org/abs/2308.07686.

f(S) is the model's output where it sees the inputs S alone, and phi_m input m's Shapley value of it, the mean of
f(S with m) - f(S) over the orders in which inputs may come. So f(all) = sum_m (phi_m + f(none) / M). s_m is the loss of
phi_m as an output, the mean over a batch's rows that have the input; r_m = exp(mean of the other inputs' s - s_m), and
tau_m the same of the means of all batches before. The gradient through phi_m + f(none) / M is multiplied by
k_m = exp(limit tanh(alpha (tau_m - r_m) / limit)), near exp(alpha (tau_m - r_m)); the output is what it was.

It takes 2^M forward passes of fusion and head, and one of the encoders.

Differs from the paper and the published code:

- An input is left out as one that is missing, at the border; there, the raw input is zero. A fusion that acts between
  the parts of encoders has mixed inputs before.
- The passes of subsets are in training, as that of all inputs is; there, in evaluation.
- The exponent stays softly between -2 and 2; in the code, below 10, by which a gradient can be 22,000 times as large.
- No gradient changes in the first batch, and none where an input has no other to be compared with.

Published code of others passes subsets without a gradient, so that the share of each input is the same half or third of
the output's gradient.

Axes: B batch, C size of the target, M inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Batch, Features, Target
from mmkit.heads.loss import loss_of
from mmkit.layers.batch_sums import batch_sums

WIDEST = 20.0
"""Difference of two losses, at most; so that its exponential is a number."""


class Agm(nn.Module):
    """Scales the gradients of the inputs' shares of the output.

    Args:
        widths: D by input; three at most.
        width: not read.
        target: of which the output speaks.
        alpha: how much a share's gradient is changed; 0 does nothing.
        limit: of the exponent, which it comes near to but does not pass, both ways.
    """

    means: Tensor
    batches: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        alpha: Annotated[float, Ge(0)] = 1.0,
        limit: Annotated[float, Gt(0)] = 2.0,
    ) -> None:
        super().__init__()
        self.inputs = sorted(widths)
        self.alpha = alpha
        self.limit = limit
        self.loss = loss_of(target)
        self.register_buffer("means", torch.zeros(len(self.inputs)))
        self.register_buffer("batches", torch.zeros(len(self.inputs)))

    def output(
        self, subsets: Mapping[tuple[str, ...], Tensor], features: Mapping[str, Features], truth: Batch
    ) -> Tensor:
        """The output of all inputs, with other gradients."""
        whole, none = subsets[tuple(self.inputs)], subsets[()]
        values = shapley(self.inputs, subsets)
        known = [features[name].present() & truth["mask"] for name in self.inputs]  # [B] each
        factors = self._factors([self.loss(value.detach(), truth) for value in values], known).to(whole.dtype)
        shares = [value + none / len(values) for value in values]
        changed = torch.stack([k * share for k, share in zip(factors.unbind(), shares, strict=True)]).sum(0)
        return whole.detach() + (changed - changed.detach())

    def _factors(self, losses: list[Tensor], known: list[Tensor]) -> Tensor:
        """[M]: k, by the losses of the shares, [B] each; in training they are remembered."""
        there = torch.stack(known, 1)  # [B M]
        total = torch.stack(losses, 1).to(self.means.dtype).masked_fill(~there, 0).sum(0)
        rows, total = batch_sums(there.sum(0), total)  # [M] each
        scores = total / rows.clamp(min=1)
        now, before = ahead(scores, rows > 0), ahead(self.means, self.batches > 0)
        exponent = self.limit * torch.tanh(self.alpha * (before - now) / self.limit)
        comparable = (now > 0) & (before > 0)
        if self.training:
            self.batches.add_(rows > 0)
            self.means.add_(torch.where(rows > 0, (scores - self.means) / self.batches.clamp(min=1), 0))
        return torch.where(comparable, exponent.exp(), 1.0)


def shapley(inputs: list[str], subsets: Mapping[tuple[str, ...], Tensor]) -> list[Tensor]:
    """The Shapley value [B C] of each input; their sum is the value of all inputs less that of none.

    Args:
        inputs: their names, sorted.
        subsets: [B C] of each subset, by its sorted names.
    """
    count = len(inputs)
    found = []
    for name in inputs:
        total = torch.zeros_like(subsets[()])
        for chosen, value in subsets.items():
            if name not in chosen:
                size = len(chosen)
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                total = total + weight * (subsets[tuple(sorted((*chosen, name)))] - value)
        found.append(total)
    return found


def ahead(scores: Tensor, seen: Tensor) -> Tensor:
    """[M]: exp(mean of the other inputs' losses - its own); 0 where there is none to compare with.

    Args:
        scores: [M], losses, less is better.
        seen: [M] bool, those that are known.
    """
    others = seen.sum() - seen.long()
    of_others = (scores.masked_fill(~seen, 0).sum() - scores) / others.clamp(min=1)
    return torch.where(seen & (others > 0), (of_others - scores).clamp(-WIDEST, WIDEST).exp(), 0.0)
