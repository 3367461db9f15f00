"""The product of 1 + e_m / C, one factor after the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.fusions.both.evidential import EvidentialFusion

WHY = "evidence of a missing input is masked"


def obvious(fusion: EvidentialFusion, _: list[Tensor], outputs: list[Tensor]) -> Tensor:
    product = torch.ones_like(outputs[0])
    for output in outputs:
        product = product * (1 + F.softplus(output) / fusion.width)
    return torch.log(1 + fusion.width * (product - 1))
