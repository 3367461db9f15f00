"""Moments: two inputs' features have the same distribution over the batch, whichever belongs to which sample.

Zellinger et al., "Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning", ICLR 2017,
https://arxiv.org/abs/1702.08811; Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A Kernel Two-Sample Test", JMLR
2012, https://jmlr.org/papers/v13/gretton12a.html. What differs: two inputs in the place of two domains, all pairs of
them. They have different widths, so random projections that are never trained bring them to one; trained ones would
meet the loss at once, by becoming constant. Before central moments are taken a sigmoid makes numbers from 0 to 1, so
that no range has to be divided by.

Axes: B batch, D an input's width, S width of the projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.discrepancy import moment_distance
from mmkit.layers.kernel_distance import kernel_distance
from mmkit.layers.pairs import check_pairs, mean_over_pairs, wide
from mmkit.layers.random_projection import RandomProjection


class MomentsObjective(nn.Module):
    """How far the distributions of two inputs' projections are apart, by their moments or by kernels.

    "cmd" is the length of the difference of the means, and of the central moments 2 to 5, added. "mmd" is the squared
    maximum mean discrepancy, of three Gaussian kernels. Either is a loss of the whole batch, the mean over the pairs of
    inputs, and the same for each of its samples; it is over the rows that have both inputs, and a pair of which fewer
    than two rows have both counts nothing. It has no parameters, so it acts on encoders alone: where all are frozen it
    changes nothing.

    Args:
        space: S, the width of the random projections.
        distance: "cmd", central moment discrepancy, or "mmd", maximum mean discrepancy.
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
        distance: Literal["cmd", "mmd"] = "cmd",
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        check_pairs(widths, "moments")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(RandomProjection(d, space) for d in widths.values())
        self.distance = distance
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B], one number."""
        features = [model_output.features[name] for name in self.inputs]
        present = [f.present() for f in features]  # [B] each
        points = [project(wide(f.vector())) for project, f in zip(self.projections, features, strict=True)]  # [B S]
        if self.distance == "cmd":
            points = [one.sigmoid() for one in points]
        measure = moment_distance if self.distance == "cmd" else kernel_distance

        def loss(a: int, b: int, both: Tensor) -> Tensor:
            return measure(points[a], points[b], both.to(points[a].dtype))

        return mean_over_pairs(present, loss, self.weight)
