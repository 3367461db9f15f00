"""Keys of each class for each part, and a mean of the parts for each class."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.fusions.both.class_attention import ClassAttentionFusion


def obvious(fusion: ClassAttentionFusion, vectors: list[Tensor], outputs: list[Tensor]) -> Tensor:
    h1, h2 = (fusion.common(layer(v)) for layer, v in zip(fusion.shared.values(), vectors, strict=True))
    zero = torch.zeros_like(h1)
    above = torch.logsumexp(torch.stack([h1 + h2, h1 + h2, h1, h2], 2), 2)
    shared = above - torch.logsumexp(torch.stack([zero, zero, h1, h2], 2), 2)
    first, second = (layer(v) for layer, v in zip(fusion.private.values(), vectors, strict=True))
    parts = torch.stack([first, shared, second], 1)  # [B 3 H]
    hidden = parts.shape[2]
    keys = torch.einsum("bkh,cgh->bckg", parts, fusion.keys.weight.view(-1, hidden, hidden).transpose(1, 2))
    weights = (torch.einsum("bg,bckg->bck", fusion.query(parts).mean(1), keys) / hidden**0.5).softmax(2)
    seen = weights @ parts  # [B C H]
    scores = (seen * fusion.score.weight).sum(2) + fusion.score.bias
    return scores + weights[:, :, 0] * outputs[0] + weights[:, :, 2] * outputs[1]
