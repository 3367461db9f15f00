"""Barlow Twins: the features of two inputs correlate one to one, and with no others.

Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
https://arxiv.org/abs/2103.03230. What differs: two inputs of one sample in the place of two distorted copies, all pairs
of them, each with a projector of its own, since their widths differ; the projector is narrower, with one hidden layer
in place of two, which suits batches of some hundred samples; the loss is weighed.

Axes: B batch, D an input's width, S width of the projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, exact_product, mean_over_pairs, standardised, wide
from mmkit.layers.projector import Projector


class BarlowObjective(nn.Module):
    """sum_i (c_ii - 1)^2 + off_diagonal * sum_{i != j} c_ij^2, c the correlations of two inputs' projections.

    It is a loss of the whole batch, the mean over the pairs of inputs, and the same for each of its samples. Means and
    variances are those of the rows that have both inputs; a pair of which fewer than two rows have both counts nothing.

    Args:
        space: S, the width of the projections and of the hidden layer before them.
        off_diagonal: weight of the terms off the diagonal.
        weight: factor of this loss, which is added to the loss of the head. At the start of training it is near S.

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
        off_diagonal: Annotated[float, Ge(0)] = 5.1e-3,
        weight: Annotated[float, Gt(0)] = 0.001,
    ) -> None:
        super().__init__()
        check_pairs(widths, "barlow")
        self.inputs = tuple(widths)
        self.projectors = nn.ModuleList(Projector(d, space) for d in widths.values())
        self.off_diagonal = off_diagonal
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
            first, second = standardised(points[a], both), standardised(points[b], both)
            correlations = exact_product(first.T, second) / both.sum().clamp(min=1)  # [S S]
            diagonal = correlations.diagonal()
            off = correlations.square().sum() - diagonal.square().sum()
            return (diagonal - 1).square().sum() + self.off_diagonal * off

        return mean_over_pairs(present, loss, self.weight)
