"""Sigmoid loss of pairs: each pair of samples is a question of its own, the same sample or not.

Zhai, Mustafa, Kolesnikov and Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
https://arxiv.org/abs/2303.15343. What differs: any number of inputs, all pairs of them with one temperature and one
bias; the loss of a pair of two samples counts half for each of the two, so that it is the same whichever input is the
first, and its sum over the batch is theirs.

Axes: B batch, D an input's width, S width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, direction, exact_product, pairs


class SiglipObjective(nn.Module):
    """Logistic loss of l_ij = t cos(z_i, z'_j) + b: same sample where i = j, another one else.

    The loss of a sample is the mean over the pairs of inputs that it has, and 0 where it has none. There is no softmax
    over the batch: two samples are compared whatever the others are. The bias b begins so low that the many pairs of
    different samples cost nearly nothing; t and b are learned.

    Args:
        space: width of the shared space.
        temperature: 1 / t at the start of training.
        bias: b at the start of training.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: fewer than two inputs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        space: Annotated[int, Gt(0)] = 64,
        temperature: Annotated[float, Interval(ge=0.01, le=10)] = 0.1,
        bias: Annotated[float, Interval(ge=-100, le=100)] = -10.0,
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        check_pairs(widths, "siglip")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(nn.Linear(d, space, bias=False) for d in widths.values())
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B]."""
        features = [model_output.features[name] for name in self.inputs]
        points = [direction(p(f.vector())) for p, f in zip(self.projections, features, strict=True)]  # [B S] each
        same = torch.eye(len(points[0]), dtype=torch.bool, device=points[0].device)
        total = torch.zeros_like(points[0][:, 0])
        count = torch.zeros_like(total)
        for a, b, both in pairs([f.present() for f in features]):
            logits = exact_product(self.log_scale.exp() * points[a], points[b].T) + self.bias  # [B B]
            loss = F.softplus(torch.where(same, -logits, logits))
            shown = torch.where(both.unsqueeze(1) & both, loss, 0)
            total = total + (shown.sum(0) + shown.sum(1)) / 2
            count = count + both
        return self.weight * total / count.clamp(min=1)
