"""One linear layer over the joined logarithms of the probabilities, and which inputs are there."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.fusions.outputs.stacking import StackingFusion

WHY = "flags that say which inputs are there are joined to the predictions"


def obvious(fusion: StackingFusion, vectors: list[Tensor]) -> Tensor:
    parts = [vector.detach().log_softmax(1) for vector in vectors]
    return F.linear(torch.cat([*parts, parts[0].new_ones(len(parts[0]), len(parts))], 1), fusion.weight, fusion.bias)
