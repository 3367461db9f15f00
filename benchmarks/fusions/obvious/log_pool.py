"""The sum of the logits."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from mmkit.fusions.outputs.log_pool import LogPoolFusion

WHY = "the form is nothing but an addition; the rest is Python"


def obvious(_: LogPoolFusion, vectors: list[Tensor]) -> Tensor:
    return reduce(torch.add, vectors)
