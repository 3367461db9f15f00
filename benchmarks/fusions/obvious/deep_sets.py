"""The two networks over the stacked projections, without a look at what is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.deep_sets import DeepSetsFusion

WHY = "members are weighed before they are added"


def obvious(fusion: DeepSetsFusion, vectors: list[Tensor]) -> Tensor:
    members = fusion.norm(fusion.inner(torch.stack(projected(fusion, vectors), 1)))
    return fusion.outer(members.mean(1))
