"""InfoNCE: pulls the inputs of one sample together and pushes those of others apart.

van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018,
https://arxiv.org/abs/1807.03748; in the symmetric form, with cosine similarity, of Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", ICML 2021, https://arxiv.org/abs/2103.00020.

Axes: B batch, D an input's width, S width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, ModelOutput, Target

_GREATEST_SCALE = 100.0  # of the logits, as in Radford et al., section 2.5
_NEVER = -1e4  # a logit whose exponential is 0 beside any within the greatest scale


class ContrastiveObjective(nn.Module):
    """InfoNCE over all pairs of inputs, both ways, with a learned temperature.

    The loss of a sample is the mean over the pairs of inputs that it has, and 0 where it has none. Its negatives are
    the other samples of the batch that have the other input, those without truth included. With several processes, each
    takes the negatives of its own batch.

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
        if len(widths) < 2:
            raise ValueError(f"the contrastive objective pairs inputs and needs two; got {', '.join(widths) or 'none'}")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(nn.Linear(d, space, bias=False) for d in widths.values())
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B]."""
        features = [model_output.features[name] for name in self.inputs]
        points = [_direction(p(f.vector())) for p, f in zip(self.projections, features, strict=True)]  # [B S] each
        present = [f.present() for f in features]  # [B] each
        scale = self._scale()
        total = torch.zeros_like(points[0][:, 0])
        pairs = torch.zeros_like(total)
        for a, b in combinations(range(len(points)), 2):
            both = present[a] & present[b]
            similarity = scale * points[a] @ points[b].T  # [B B]
            there = _negative_log_likelihood(similarity, present[b])
            back = _negative_log_likelihood(similarity.T, present[a])
            total = total + torch.where(both, (there + back) / 2, 0)
            pairs = pairs + both
        return self.weight * total / pairs.clamp(min=1)

    def _scale(self) -> Tensor:
        # The gradient passes through the clamp: otherwise a scale above the limit would never get back.
        over = (self.log_scale - math.log(_GREATEST_SCALE)).clamp(min=0)
        return (self.log_scale - over.detach()).exp()


def _direction(point: Tensor) -> Tensor:
    """Of length 1; at least float32, since half precision is too coarse for the similarities. Zero stays zero."""
    return F.normalize(point.to(torch.promote_types(point.dtype, torch.float32)), dim=-1)


def _negative_log_likelihood(similarity: Tensor, present: Tensor) -> Tensor:
    """[B]: -log of the diagonal's share of each row's softmax over the columns that are present."""
    # A finite floor: a row without any column would be -inf, which not every derivative of logsumexp survives.
    shown = similarity.masked_fill(~present, _NEVER)
    return shown.logsumexp(-1) - similarity.diagonal()
