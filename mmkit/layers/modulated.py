"""Features scaled and shifted channel by channel, the same at every position.

Axes: B batch, T positions, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import there


def modulated(features: Features, gamma: Tensor, beta: Tensor) -> Features:
    """`(1 + gamma) X + beta` where something is there, zero elsewhere; of the summary likewise.

    Args:
        features: what stands at a place within an encoder.
        gamma: [B D], the scale less 1.
        beta: [B D], the shift.
    """
    scale = 1 + gamma
    tokens = torch.addcmul(beta.unsqueeze(1), features.tokens, scale.unsqueeze(1))
    pooled = features.pooled
    if pooled is not None:
        pooled = masked(torch.addcmul(beta, pooled, scale), there(features))
    tokens = masked(tokens, features.mask.unsqueeze(2))
    return replace(features, tokens=tokens, pooled=pooled, penalties={})
