"""Shared and specific features: what the inputs share stands in for those that are missing.

Wang et al., "Multi-Modal Learning with Missing Modality via Shared-Specific Feature Modelling", CVPR 2023,
https://arxiv.org/abs/2307.14126.

    z_m = W_m x_m + b_m    s_m = relu(E z_m)    r_m = relu(E_m z_m)
    f_m = s_m + P [s_m; r_m] where m is there, else the mean of s over those that are    y = W [f_1; ...; f_M] + b
    penalties: align mean_ij mean_h |s_i - s_j|  +  tell mean_m CE(D r_m, m)

What differs: the paper has convolutional networks over volumes in the place of E, E_m and P, which are one layer each
here. As in the paper the mean of what is shared stands in, where its code takes the first that is there. All pairs are
aligned, where its code takes neighbours, and nothing of a missing input counts in a penalty, where its code counts an
image of zeros.

Axes: B batch, M inputs, D an input's width, N pairs, H fused width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.chosen import chosen
from mmkit.layers.vectors import complete, one_token, present


class SharedSpecificFusion(nn.Module):
    """Features of each input by a network that all share and by one of its own; the shared ones are the stand-in.

    A missing input leaves a trace by design: its place holds the mean of what is shared. Where all are missing, the
    result is the bias of the last layer. Its details, where they are asked for, are `shared.INPUT` and `private.INPUT`.
    In evaluation there is no penalty.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        align: weight of the penalty that draws the shared features of the inputs together.
        tell: weight of the penalty by which specific features tell which input they are of.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        align: Annotated[float, Ge(0)] = 0.1,
        tell: Annotated[float, Ge(0)] = 0.02,
    ) -> None:
        super().__init__()
        self.width = width
        self.align = align
        self.tell = tell
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.shared = nn.Linear(width, width)
        self.specific = nn.ModuleDict({name: nn.Linear(width, width) for name in widths})
        self.compose = nn.Linear(2 * width, width)
        self.which = nn.Linear(width, len(widths)) if len(widths) > 1 else None  # of one there is nothing to tell
        self.mix = nn.Linear(len(widths) * width, width)
        self.pairs = tuple(itertools.combinations(range(len(widths)), 2))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with the penalties `align` and `tell` in training."""
        given = [linear(features[name].vector()) for name, linear in self.project.items()]  # [B H] each
        specific = torch.stack([one(z) for one, z in zip(self.specific.values(), given, strict=True)]).relu()
        shared = self.shared(torch.stack(given)).relu()  # [M B H]
        own = shared + self.compose(torch.cat([shared, specific], 2))
        there = None
        if not complete(features, self.project):
            there = present(features, self.project).T.unsqueeze(2)  # [M B 1]
            count = there.sum(0).clamp(min=1)
            own = chosen(own, there, (shared * there).sum(0) / count)
        found = one_token(self.mix(own.transpose(0, 1).flatten(1)), features, self.project)
        if self.training and self.which is not None:
            real = shared.new_ones(shared.shape[:2]) if there is None else there.squeeze(2).to(shared.dtype)  # [M B]
            found.penalties["align"] = self.align * self._distance(shared, real)
            found.penalties["tell"] = self.tell * _mean(self._unknown(specific, self.which), real)
        return replace(found, details=self._details(shared, specific)) if self.detailed else found

    def _distance(self, shared: Tensor, real: Tensor) -> Tensor:
        """[B]: of the shared features of two inputs, the mean over pairs of which both are there."""
        apart = torch.stack([(shared[one] - shared[other]).abs().mean(1) for one, other in self.pairs])  # [N B]
        return _mean(apart, torch.stack([real[one] * real[other] for one, other in self.pairs]))

    @staticmethod
    def _unknown(specific: Tensor, which: nn.Linear) -> Tensor:
        """[M B]: the cross-entropy of telling from specific features which input they are of."""
        inputs = torch.arange(len(specific), device=specific.device)[:, None].expand(specific.shape[:2])
        return F.cross_entropy(which(specific).flatten(0, 1), inputs.flatten(), reduction="none").view_as(inputs)

    def _details(self, shared: Tensor, specific: Tensor) -> dict[str, Tensor]:
        """[B H] each."""
        parts = zip(self.project, shared, specific, strict=True)
        return {f"{kind}.{n}": part for n, s, r in parts for kind, part in (("shared", s), ("private", r))}


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """[B], over the first axis of [N B], where there is a weight of 1."""
    return (values * weights).sum(0) / weights.sum(0).clamp(min=1)
