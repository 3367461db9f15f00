"""VICReg: the projections of two inputs are equal, each of their features varies, and no two of them tell the same.

Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR
2022, https://arxiv.org/abs/2105.04906. What differs: two inputs of one sample in the place of two distorted copies, all
pairs of them, each with a projector of its own, since their widths differ; the projector is narrower, with one hidden
layer in place of two, which suits batches of some hundred samples; the loss is weighed. The three weights within it are
those of the authors' code.

Axes: B batch, D an input's width, S width of the projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import centred, check_pairs, exact_product, mean_over_pairs, wide
from mmkit.layers.projector import Projector

NEAR = 1e-4
"""Added to the variance below its root."""


class VicregObjective(nn.Module):
    """25 mean (z - z')^2 + 25 mean_i relu(1 - std_i) + sum_{i != j} C_ij^2 / S; the second is the mean over the two.

    C is the covariance of the features of a projection, std_i the root of C_ii + 1e-4; the third term is the sum over
    the two. It is a loss of the whole batch, the mean over the pairs of inputs, and the same for each of its samples.
    Means and covariances are those of the rows that have both inputs; a pair of which fewer than two rows have both
    counts nothing.

    Args:
        space: S, the width of the projections and of the hidden layer before them.
        invariance: weight of the squared difference of the two projections.
        variance: weight of what is missing to a standard deviation of 1.
        covariance: weight of the squared covariances.
        weight: factor of this loss, which is added to the loss of the head. At the start of training it is near 25.

    Raises:
        ValueError: fewer than two inputs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        space: Annotated[int, Gt(0)] = 128,
        invariance: Annotated[float, Ge(0)] = 25.0,
        variance: Annotated[float, Ge(0)] = 25.0,
        covariance: Annotated[float, Ge(0)] = 1.0,
        weight: Annotated[float, Gt(0)] = 0.005,
    ) -> None:
        super().__init__()
        check_pairs(widths, "vicreg")
        self.inputs = tuple(widths)
        self.projectors = nn.ModuleList(Projector(d, space) for d in widths.values())
        self.space = space
        self.invariance = invariance
        self.variance = variance
        self.covariance = covariance
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B], one number."""
        features = [model_output.features[name] for name in self.inputs]
        present = [f.present() for f in features]  # [B] each
        points = [
            wide(project(f.vector(), rows))  # [B S]
            for project, f, rows in zip(self.projectors, features, present, strict=True)
        ]

        def loss(a: int, b: int, both: Tensor) -> Tensor:
            rows = both.sum()
            apart = torch.where(both, (points[a] - points[b]).square().mean(1), 0).sum() / rows.clamp(min=1)
            value = self.invariance * apart
            for one in (points[a], points[b]):
                spread, shared = self._spread(centred(one, both), rows)
                value = value + self.variance * spread / 2 + self.covariance * shared
            return value

        return mean_over_pairs(present, loss, self.weight)

    def _spread(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What is missing to a standard deviation of 1, the mean over features; and what they have in common."""
        covariances = exact_product(points.T, points) / (rows - 1).clamp(min=1)  # [S S]
        variances = covariances.diagonal()
        missing = (1 - (variances + NEAR).sqrt()).relu().mean()
        return missing, (covariances.square().sum() - variances.square().sum()) / self.space
