"""The stacked predictions, of which the one that the gate scores highest is taken, and mixed in training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.fusions.both.dynamic_gate import DynamicGateFusion

WHY = "the softmax of the gate is masked, and the best branch found by comparison, since vmap takes no one-hot"


def obvious(fusion: DynamicGateFusion, vectors: list[Tensor], outputs: list[Tensor]) -> Tensor:
    x = torch.cat(vectors, 1)
    branches = torch.stack([*outputs, fusion.joint.second(fusion.joint.first(x).relu())], 1)  # [B M+1 C]
    shares = fusion.gate.second(fusion.gate.first(x).relu()).softmax(1)
    if not fusion.training:
        chosen = F.one_hot(shares.argmax(1), shares.shape[1])
        shares = shares + (chosen - shares).detach()
    return (shares.unsqueeze(2) * branches).sum(1)
