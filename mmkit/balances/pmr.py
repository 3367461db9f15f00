"""Prototypical modal rebalance: the encoder of an input that is behind is drawn to the prototypes of the classes.

Fan, Xu, Wang, Wang and Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023,
https://arxiv.org/abs/2211.07089.

The prototype c_mk of class k is the mean of the features x_m of its samples, a share of it that of the epoch before.
s_m is the mean over a batch's rows that have input m of softmax_k(-|x_m - c_mk|) at the class that is true. With
rho_m = s_m / mean of the other inputs' s, an input with rho_m < 1 has the loss weight * -log of that softmax, and one
that is ahead has none.

Differs from the paper:

- Means of the features that the batches of an epoch had as they passed, which costs nothing; there, a pass of its own
  over a tenth of the samples between the epochs. So the first epoch has no prototypes, and nothing happens in it.
- More than two inputs: beside the mean of the others. The paper has two.
- The paper's entropy term, which holds back the input that is ahead, is left out, as in the published code.
- A class that an epoch had no sample of keeps its prototype; a row whose class has none takes no part.

Axes: B batch, D an input's width, C classes, M inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, Features, ModelOutput, Split, Target
from mmkit.layers.batch_sums import batch_sums
from mmkit.layers.lead import lead
from mmkit.layers.pairs import exact_product

NEVER = -1e4
"""The logit of a class without a prototype."""
FLOOR = 1e-12
"""Added to a squared distance, under the root."""


class Pmr(nn.Module):
    """A loss of the distance to prototypes, for inputs that are behind.

    Args:
        widths: D by input.
        width: not read.
        target: of C classes.
        weight: of the loss of the distances.
        momentum: share of a prototype that is that of the epoch before.
        until: the last epoch of that loss; none is all of them.
    """

    active: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        weight: Annotated[float, Gt(0)] = 1.0,
        momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.2,
        until: Annotated[int, Gt(0)] | None = 100,
    ) -> None:
        super().__init__()
        self.inputs = sorted(widths)
        self.prototypes = nn.ModuleDict({name: Prototypes(widths[name], target.size) for name in self.inputs})
        self.weight = weight
        self.momentum = momentum
        self.until = until
        self.register_buffer("active", torch.ones(()))

    def epoch(self, number: int, measure: Callable[[Split], Mapping[str, float]]) -> None:  # noqa: ARG002
        """Take the means of the epoch before as prototypes."""
        self.active.fill_(float(self.until is None or number <= self.until))
        for one in self.prototypes.values():
            one.renew(self.momentum)  # type: ignore[operator]

    def weigh(self, losses: Mapping[str, Tensor], output: ModelOutput, truth: Batch) -> dict[str, Tensor]:
        """The losses, and one a input: `prototypes.INPUT`."""
        label = truth["label"].where(truth["mask"], 0)
        own, present = [], []
        for name in self.inputs:
            known = output.features[name].present() & truth["mask"]  # [B]
            loss, there = self.prototypes[name](output.features[name], label, known)
            own.append(loss)
            present.append(there)
        there = torch.stack(present, 1)  # [B M]
        behind = lead(torch.exp(-torch.stack(own, 1).detach()), there) < 1  # [M]
        factors = self.weight * behind * self.active
        return dict(losses) | {
            f"prototypes.{name}": (factor * loss).masked_fill(~rows, 0)
            for name, loss, rows, factor in zip(self.inputs, own, present, factors.unbind(), strict=True)
        }


class Prototypes(nn.Module):
    """Those of one input, and the sums of which the next ones will be the means.

    Args:
        width: D.
        classes: C.
    """

    points: Tensor
    seen: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("points", torch.zeros(classes, width))
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("sums", torch.zeros(classes, width))
        self.register_buffer("counts", torch.zeros(classes))

    def forward(self, features: Features, label: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """-log softmax(-distances) of the true class [B], and the rows [B] that have one; in training it counts them.

        Args:
            features: of the input.
            label: [B], any class where it is not known.
            known: [B] bool, where the input is there and the truth is known.
        """
        points = features.vector().to(self.points.dtype)  # [B D]
        of_class = F.one_hot(label, len(self.points)) * known.unsqueeze(1)  # [B C]
        if self.training:
            shown = of_class.to(points.dtype)
            sums, counts = batch_sums(exact_product(shown.T, points.detach()), shown.sum(0))
            self.sums.add_(sums)
            self.counts.add_(counts)
        lengths = points.square().sum(1, keepdim=True) + self.points.square().sum(1)  # [B C]
        squares = lengths - 2 * exact_product(points, self.points.T)
        logits = -(squares.clamp(min=0) + FLOOR).sqrt().masked_fill(~self.seen, -NEVER)
        loss = -logits.log_softmax(1).gather(1, label.unsqueeze(1)).squeeze(1)
        return loss, known & self.seen[label]

    def renew(self, momentum: float) -> None:
        """The means of what was counted, `momentum` of them as they were; the count begins anew."""
        met = self.counts > 0
        means = self.sums / self.counts.clamp(min=1).unsqueeze(1)
        kept = torch.where(self.seen, momentum, 0.0).unsqueeze(1)
        self.points.copy_(torch.where(met.unsqueeze(1), kept * self.points + (1 - kept) * means, self.points))
        self.seen.logical_or_(met)
        self.sums.zero_()
        self.counts.zero_()
