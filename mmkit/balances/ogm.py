"""On-the-fly gradient modulation: the encoder of an input that is ahead of the others learns more slowly.

Peng et al., "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022,
https://arxiv.org/abs/2203.15332.

A head on the detached features of each input m measures s_m, the mean over a batch's rows that have the input of the
probability of what is true. With rho_m = s_m / mean of the other inputs' s, the gradient that reaches the features of m
from the fusion is multiplied by k_m = 1 - tanh(alpha * rho_m) where rho_m > 1, else by 1. So k jumps at rho = 1, from 1
to 1 - tanh(alpha), as in the paper.

Differs from the paper:

- Heads measure; there, halves of the weight of a linear layer after concatenation do, which other fusions do not have.
- The mean over the rows that have the input in place of the sum over all, which is the same where nothing is missing;
  a sum would take an input that is seldom there for one that is behind. An input that no row of the batch has takes no
  part; where no other input is there, k is 1.
- More than two inputs: beside the mean of the others. The paper has two.
- Other targets than classes: the probability is exp(-loss), which for classes is the same.
- No noise is added to the gradients (the paper's GE): it would need a hook on every parameter.
- The epochs of modulation are those of the published code by default, the first 50.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Batch, Features, Split, Target
from mmkit.heads.loss import loss_of
from mmkit.layers.border import scaled
from mmkit.layers.lead import lead


class Ogm(nn.Module):
    """Scales the gradients of inputs that are ahead.

    Args:
        widths: D by input.
        width: not read.
        target: of which the heads' outputs speak.
        alpha: how much an input that is ahead is slowed down; 0 does nothing.
        until: the last epoch of modulation; none is all of them.
    """

    active: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        alpha: Annotated[float, Ge(0)] = 0.3,
        until: Annotated[int, Gt(0)] | None = 50,
    ) -> None:
        super().__init__()
        self.inputs = sorted(widths)
        self.alpha = alpha
        self.until = until
        self.loss = loss_of(target)
        self.register_buffer("active", torch.ones(()))

    def epoch(self, number: int, measure: Callable[[Split], Mapping[str, float]]) -> None:  # noqa: ARG002
        """Stop after the last epoch of modulation."""
        self.active.fill_(float(self.until is None or number <= self.until))

    def border(
        self, features: Mapping[str, Features], unimodal: Mapping[str, Tensor], truth: Batch
    ) -> dict[str, Features]:
        """The features, their gradients scaled."""
        there = torch.stack([features[name].present() & truth["mask"] for name in self.inputs], 1)  # [B M]
        right = torch.stack([torch.exp(-self.loss(unimodal[name].detach(), truth)) for name in self.inputs], 1)
        shares = torch.where(self.active > 0, modulation(right, there, self.alpha), 1.0)  # [M]
        return {name: scaled(features[name], share) for name, share in zip(self.inputs, shares.unbind(), strict=True)}


def modulation(right: Tensor, there: Tensor, alpha: float) -> Tensor:
    """The share k [M] of the gradient of each input.

    Args:
        right: [B M], the probability of what is true, as each input alone sees it.
        there: [B M] bool, where the input is there and the truth is known.
        alpha: as above.
    """
    ratio = lead(right, there)
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), 1.0)
