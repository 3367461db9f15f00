"""Supervised contrastive loss: samples of one class are drawn together, whichever their input, and others apart.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362, the form with the
mean over positives outside the logarithm. What differs: inputs of one sample in the place of augmented copies of an
image, each with a linear projection of its own, where the paper has a hidden layer; a sample whose class no other
member of the batch shares loses nothing; the loss is added to that of the head, in place of a training of its own.

Axes: B batch, M inputs, D an input's width, S width of the shared space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Gt, Interval
from torch import Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import direction, exact_product

_NEVER = -1e4  # a logit whose exponential is 0 beside any of the least temperature


class SupervisedContrastiveObjective(nn.Module):
    """-log softmax_j(cos(z_i, z_j) / temperature), the mean over all j of i's class; i, j: inputs of samples.

    Each input of each sample is a member; the softmax is over all other members of the batch. The loss of a sample is
    the mean over those of its inputs that have another member of their class, which may be another input of the same
    sample, and 0 where there is none. Samples without truth are no members. With classes that are all distinct it pulls
    the inputs of one sample together, as `contrastive` does, with both inputs among the negatives.

    Args:
        space: width of the shared space.
        temperature: of the softmax over similarities; it is not learned.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: the target is not classes.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        space: Annotated[int, Gt(0)] = 64,
        temperature: Annotated[float, Interval(ge=0.01, le=10)] = 0.07,
        weight: Annotated[float, Gt(0)] = 0.1,
    ) -> None:
        super().__init__()
        if target.kind != "classes":
            raise ValueError(f"the supervised-contrastive objective compares classes; the target is {target.kind!r}")
        self.inputs = tuple(widths)
        self.projections = nn.ModuleList(nn.Linear(d, space, bias=False) for d in widths.values())
        self.temperature = temperature
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], zero where truth is missing."""
        features = [model_output.features[name] for name in self.inputs]
        points = [direction(p(f.vector())) for p, f in zip(self.projections, features, strict=True)]  # [B S] each
        there = torch.cat([truth["mask"] & f.present() for f in features])  # [MB]
        label = truth["label"].repeat(len(features))
        every = torch.cat(points)  # [MB S]
        member = torch.arange(len(every), device=every.device)
        others = there & (member.unsqueeze(1) != member)  # [MB MB], of each member
        alike = others & (label.unsqueeze(1) == label)
        similarity = exact_product(every / self.temperature, every.T)
        log_share = similarity - similarity.masked_fill(~others, _NEVER).logsumexp(1, keepdim=True)
        count = alike.sum(1)
        loss = -torch.where(alike, log_share, 0).sum(1) / count.clamp(min=1)  # [MB]
        counts = (there & (count > 0)).view(len(features), -1)  # [M B]
        of_inputs = torch.where(counts, loss.view_as(counts), 0)
        return self.weight * of_inputs.sum(0) / counts.sum(0).clamp(min=1)
