"""The sum of the logits, and of an MLP over the joined vectors."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from mmkit.fusions.both.joint_pool import JointPoolFusion


def obvious(fusion: JointPoolFusion, vectors: list[Tensor], outputs: list[Tensor]) -> Tensor:
    joint = fusion.joint.second(fusion.joint.first(torch.cat(vectors, 1)).relu())
    return reduce(torch.add, outputs, joint)
