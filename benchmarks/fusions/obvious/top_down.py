"""Scores of the joined tokens beside the anchor's vector, a masked softmax, and the product."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.top_down import TopDownFusion


def obvious(fusion: TopDownFusion, inputs: Inputs) -> Tensor:
    (own, real), *others = inputs
    asks = own.sum(1) / real.sum(1, keepdim=True).clamp(min=1)  # padding is zero
    tokens = torch.cat([linear(t) for linear, (t, _) in zip(fusion.project.values(), others, strict=True)], 1)
    mask = torch.cat([m for _, m in others], 1)
    hidden = F.elu(fusion.of_token(tokens) + fusion.of_anchor(asks).unsqueeze(1))
    scores = fusion.score(hidden).squeeze(2).masked_fill(~mask, torch.finfo(tokens.dtype).min)
    mean = (scores.softmax(1).unsqueeze(2) * tokens).sum(1)
    first = torch.where(real.any(1, keepdim=True), F.elu(fusion.first(asks)), 1)
    return first * torch.where(mask.any(1, keepdim=True), F.elu(fusion.second(mean)), 1)
