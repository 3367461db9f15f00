"""InfoNCE: pulls the inputs of one sample together and pushes those of others apart.

van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018,
https://arxiv.org/abs/1807.03748; in the symmetric form, with cosine similarity, of Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", ICML 2021, https://arxiv.org/abs/2103.00020.

Axes: B batch, D an input's width, S width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.matching import limited_scale, matching_loss
from mmkit.layers.pairs import check_pairs, direction, exact_product, pairs


class ContrastiveObjective(nn.Module):
    """InfoNCE over all pairs of inputs, both ways, with a learned temperature.

    The loss of a sample is the mean over the pairs of inputs that it has, and 0 where it has none. Its negatives are
    the other samples of the batch that have the other input, those without truth included.

    Args:
        space: width of the shared space.
        temperature: of the softmax over similarities, at the start of training; it is learned.
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
        temperature: Annotated[float, Interval(ge=0.01, le=10)] = 0.07,
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        check_pairs(widths, "contrastive")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(nn.Linear(d, space, bias=False) for d in widths.values())
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B]."""
        features = [model_output.features[name] for name in self.inputs]
        points = [direction(p(f.vector())) for p, f in zip(self.projections, features, strict=True)]  # [B S] each
        present = [f.present() for f in features]  # [B] each
        scale = limited_scale(self.log_scale)
        total = torch.zeros_like(points[0][:, 0])
        count = torch.zeros_like(total)
        for a, b, both in pairs(present):
            similarity = exact_product(scale * points[a], points[b].T)  # [B B]
            there = matching_loss(similarity, present[b])
            back = matching_loss(similarity.T, present[a])
            total = total + torch.where(both, (there + back) / 2, 0)
            count = count + both
        return self.weight * total / count.clamp(min=1)
