"""An encoder, a decoder and two attention pools, by PyTorch's attention."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs, attention, transformer
from mmkit.fusions.tokens.guided_attention import GuidedAttentionFusion


def obvious(fusion: GuidedAttentionFusion, inputs: Inputs) -> Tensor:
    guide, *others = [linear(tokens) for linear, (tokens, _) in zip(fusion.project.values(), inputs, strict=True)]
    real, *rest = [mask for _, mask in inputs]
    tokens, mask = torch.cat(others, 1), torch.cat(rest, 1)
    for layer in fusion.guide:
        guide = transformer(layer, guide, real)
    for layer in fusion.guided:
        normed = layer.before_attention(tokens)
        tokens = tokens + attention(layer.attention, normed, normed, mask)
        tokens = tokens + attention(layer.cross, layer.before_cross(tokens), layer.before_context(guide), real)
        tokens = tokens + layer.feed_forward(tokens)
    total = torch.zeros_like(guide[:, 0])
    for pool, each, seen in zip(fusion.pool, (guide, tokens), (real, mask), strict=True):
        scores = pool.score(each).squeeze(2).masked_fill(~seen, torch.finfo(each.dtype).min)
        weights = scores.softmax(1) * seen
        total = total + pool.merge((weights.unsqueeze(1) @ each).squeeze(1))
    return fusion.norm(total)
