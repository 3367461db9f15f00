"""Scores and glimpses as two layers an input, the products of one glimpse after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.bilinear_attention import BilinearAttentionFusion


def obvious(fusion: BilinearAttentionFusion, inputs: Inputs) -> Tensor:
    scored, products, masks = [], [], []
    for linear, (tokens, mask) in zip(fusion.project.values(), inputs, strict=True):
        absent = torch.zeros_like(mask)
        absent[:, 0] = ~mask.any(1)
        both = torch.where(absent.unsqueeze(2), 1, linear(tokens))
        scored.append(both[:, :, : fusion.rank].relu())
        products.append(both[:, :, fusion.rank :].chunk(fusion.glimpses, 2))
        masks.append(mask | absent)
    pairs = masks[0].unsqueeze(2) & masks[1].unsqueeze(1)
    found = []
    for score, x, y in zip(fusion.scores, *products, strict=True):
        weights = (scored[0] * score) @ scored[1].mT
        weights = weights.masked_fill(~pairs, -torch.inf).flatten(1).softmax(1).view(pairs.shape)
        found.append((x * (weights @ y)).sum(1))
    return fusion.mix(torch.cat(found, 1))
