"""One input after the other, each by the shared layer and by its own."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import projected
from mmkit.fusions.vectors.shared_specific import SharedSpecificFusion

WHY = "what the inputs share is averaged, to stand in for those that are missing"


def obvious(fusion: SharedSpecificFusion, vectors: list[Tensor]) -> Tensor:
    composed = []
    for given, own in zip(projected(fusion, vectors), fusion.specific.values(), strict=True):
        shared = fusion.shared(given).relu()
        composed.append(shared + fusion.compose(torch.cat([shared, own(given).relu()], 1)))
    return fusion.mix(torch.cat(composed, 1))
