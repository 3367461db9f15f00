"""Group normalisation under a mask.

Axes: B batch, C channels, G groups, T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_group_norm(x: Tensor, mask: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group normalisation of each row over its real steps only, as if the padding were cut off.

    Args:
        x: [B C T].
        mask: [B T], True where a step is real.
        norm: gives groups, weights and epsilon.
    """
    dtype = x.dtype
    groups = x.unflatten(1, (norm.num_groups, -1))  # [B G C/G T]
    if dtype != torch.float64:
        groups = groups.float()  # also under autocast, because the sums are long
    real = mask[:, None, None]
    count = real.sum(3, keepdim=True).clamp(min=1) * groups.shape[2]
    mean = groups.masked_fill(~real, 0).sum((2, 3), keepdim=True) / count
    centred = (groups - mean).masked_fill(~real, 0)
    variance = centred.square().sum((2, 3), keepdim=True) / count
    normal = (centred * (variance + norm.eps).rsqrt()).flatten(1, 2)  # [B C T]
    if norm.affine:
        normal = normal * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)
    return normal.to(dtype)
