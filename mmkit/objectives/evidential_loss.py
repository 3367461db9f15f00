"""Evidential losses: each input's evidence, and the whole, should speak for the true class and for no other.

Sensoy, Kaplan and Kandemir, "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS 2018,
https://arxiv.org/abs/1806.01768; Han, Zhang, Fu and Zhou, "Trusted Multi-View Classification", ICLR 2021,
https://arxiv.org/abs/2102.02051; Xu et al., "Reliable Conflictive Multi-View Learning", AAAI 2024,
https://arxiv.org/abs/2402.16897. The losses of one view are from the first, their sum from the second, the conflict
from the last. What differs: the weight of the divergence grows over batches, where theirs grows over 50 epochs; missing
inputs have no loss.

Axes: B batch, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import wide

GREATEST = 30.0
"""Of the logarithm of a Dirichlet parameter; above it the loss is flat."""
STIRLING = 30.0
"""The Dirichlet parameter from which on the series is taken: there its error is below 1e-12."""


class EvidentialLossObjective(nn.Module):
    """The sum of digamma(S) - digamma(alpha_y) + l KL(Dir(a) || Dir(1)) over all views that are there, and the whole.

    alpha = e + 1 are the parameters of a view, S their sum, and a is alpha with 1 in the place of the true class's. A
    joint view of the fusion is one of them.

    Args:
        anneal: batches of training until l is 1, micro-batches where there are some; it begins at 1 / anneal.
        conflict: factor of the conflict between views: the distance of their expected probabilities, times what both
            are certain of.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: the target is no class.
    """

    batches: Tensor

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        anneal: Annotated[int, Gt(0)] = 500,
        conflict: Annotated[float, Ge(0)] = 0.0,
        weight: Annotated[float, Gt(0)] = 1.0,
    ) -> None:
        super().__init__()
        if target.kind != "classes":
            raise ValueError(f"evidence is for classes; the target is {target.kind!r}")
        self.inputs = tuple(widths)
        self.anneal = anneal
        self.conflict = conflict
        self.weight = weight
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        known = truth["mask"]
        label = torch.where(known, truth["label"], 0)
        share = ((self.batches + 1) / self.anneal).clamp(max=1)
        if self.training:
            with torch.no_grad():
                self.batches.add_(1)
        views = [(F.softplus(wide(model_output.unimodal[name])) + 1, model_output.shown(name)) for name in self.inputs]
        if "joint_evidence" in model_output.fused.details:
            some = torch.stack([there for _, there in views]).any(0)
            views.append((model_output.fused.details["joint_evidence"] + 1, some))
        loss = _loss(wide(model_output.output).clamp(max=GREATEST).exp(), label, share)
        for alpha, there in views:
            loss = loss + torch.where(there, _loss(alpha, label, share), 0)
        if self.conflict:
            loss = loss + self.conflict * _conflict(views)
        return torch.where(known, self.weight * loss, 0)


def _loss(alpha: Tensor, label: Tensor, share: Tensor) -> Tensor:
    """[B], of the Dirichlet parameters [B C]."""
    of_truth = alpha.gather(1, label.unsqueeze(1)).squeeze(1)
    surprise = alpha.sum(1).digamma() - of_truth.digamma()
    true = label.unsqueeze(1) == torch.arange(alpha.shape[1], device=label.device)  # vmap takes no one_hot
    rest = torch.where(true, 1, alpha)
    total, classes = rest.sum(1), alpha.shape[1]
    divergence = _small(rest).sum(1) - _small(total) + (classes - 1) * total.digamma() - math.lgamma(classes)
    return surprise + share.to(alpha.dtype) * divergence.clamp(min=0)


def _small(a: Tensor) -> Tensor:
    """(a - 1) digamma(a) - lgamma(a) - a, which grows as -log(a) / 2 while its terms grow as a log(a).

    In the divergence the a cancel out. In float32 the terms of evidence of a million are rounded by more than all that
    is left of them; so for great a it is by Stirling's series, in which they are not.
    """
    near, far = a.clamp(max=STIRLING), a.clamp(min=STIRLING)
    x = 1 / far
    digamma = -x / 2 - x**2 / 12 + x**4 / 120 - x**6 / 252  # less log(a)
    lgamma = 0.5 * math.log(2 * math.pi) + x / 12 - x**3 / 360 + x**5 / 1260  # less (a - 1/2) log(a) - a
    series = -far.log() / 2 + (far - 1) * digamma - lgamma
    return torch.where(a < STIRLING, (near - 1) * near.digamma() - near.lgamma() - near, series)


def _conflict(views: list[tuple[Tensor, Tensor]]) -> Tensor:
    """[B]: of each view with the mean of the others, over the views that are there, summed."""
    total = torch.zeros_like(views[0][0][:, 0])
    count = torch.stack([there for _, there in views]).sum(0)  # [B]
    for (first, here), (second, there) in combinations(views, 2):
        sums = first.sum(1, keepdim=True), second.sum(1, keepdim=True)  # [B 1] each
        distance = (first / sums[0] - second / sums[1]).abs().sum(1) / 2
        certain = (1 - first.shape[1] / sums[0]) * (1 - second.shape[1] / sums[1])
        total = total + torch.where(here & there, 2 * distance * certain.squeeze(1), 0)
    return total / (count - 1).clamp(min=1)
