"""On-the-fly prediction modulation: an input that is ahead of the others is left out of the fusion at random.

Wei, Hu, Du and Wen, "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024,
https://arxiv.org/abs/2410.11582.

A head on the detached features of each input m measures s_m, the mean over a batch's rows that have the input of the
probability of what is true. With rho_m = s_m / mean of the other inputs' s, the fusion sees input m of each sample not
at all with probability q_m = min(1, rate (1 + growth tanh(rho_m - 1))) where rho_m > 1, else it sees all of it. That
is done in a share of the batches, and after the first epochs.

Differs from the paper:

- Heads measure; there, halves of the weight of a linear layer after concatenation do, which other fusions do not have.
- What is left is not divided by 1 minus the mean of q: a fusion knows here what is missing, and evaluation too has rows
  in which an input is, with values of the same size.
- A row that would lose all its inputs keeps them; there, it leaves the loss.
- More than two inputs: beside the mean of the others. The paper has two.
- Other targets than classes: the probability is exp(-loss), which for classes is the same.
- The defaults are those of the published code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, Features, Split, Target
from mmkit.heads.loss import loss_of
from mmkit.layers.batch_sums import batch_sums
from mmkit.layers.border import without
from mmkit.layers.lead import lead


class Opm(nn.Module):
    """Leaves out inputs that are ahead.

    Args:
        widths: D by input.
        width: not read.
        target: of which the heads' outputs speak.
        rate: probability of an input that is hardly ahead to be left out of a sample.
        growth: by how much of itself that probability grows, at the most, the farther the input is ahead.
        share: of the batches in which it is done.
        warmup: epochs before it begins.
    """

    active: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        rate: Annotated[float, Interval(ge=0, le=1)] = 0.5,
        growth: Annotated[float, Ge(0)] = 0.5,
        share: Annotated[float, Interval(ge=0, le=1)] = 0.7,
        warmup: Annotated[int, Ge(0)] = 5,
    ) -> None:
        super().__init__()
        self.inputs = sorted(widths)
        self.rate = rate
        self.growth = growth
        self.share = share
        self.warmup = warmup
        self.loss = loss_of(target)
        self.register_buffer("active", torch.full((), float(warmup == 0)))

    def epoch(self, number: int, measure: Callable[[Split], Mapping[str, float]]) -> None:  # noqa: ARG002
        """Begin after the first epochs."""
        self.active.fill_(float(number > self.warmup))

    def border(
        self, features: Mapping[str, Features], unimodal: Mapping[str, Tensor], truth: Batch
    ) -> dict[str, Features]:
        """The features that the fusion sees."""
        present = torch.stack([features[name].present() for name in self.inputs], 1)  # [B M]
        right = torch.stack([torch.exp(-self.loss(unimodal[name].detach(), truth)) for name in self.inputs], 1)
        q = dropping(right, present & truth["mask"].unsqueeze(1), self.rate, self.growth)  # [M]
        (drawn,) = batch_sums(
            torch.rand((), device=present.device)
        )  # of several processes one number, as uniform as each
        now = (self.active > 0) & (drawn % 1 < self.share)
        kept = present & (torch.rand(present.shape, device=present.device) >= torch.where(now, q, 0))
        kept = torch.where(kept.any(1, keepdim=True), kept, present)
        return {name: without(features[name], of) for name, of in zip(self.inputs, kept.unbind(1), strict=True)}


def dropping(right: Tensor, there: Tensor, rate: float, growth: float) -> Tensor:
    """The probability q [M] of each input to be left out.

    Args:
        right: [B M], the probability of what is true, as each input alone sees it.
        there: [B M] bool, where the input is there and the truth is known.
        rate: as above.
        growth: as above.
    """
    ratio = lead(right, there)
    return torch.where(ratio > 1, (rate * (1 + growth * torch.tanh(ratio - 1))).clamp(max=1), 0.0)
