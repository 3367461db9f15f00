"""One linear layer over the joined vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.vectors.concat import ConcatFusion


def obvious(fusion: ConcatFusion, vectors: list[Tensor]) -> Tensor:
    return fusion.mix(torch.cat(vectors, 1))
