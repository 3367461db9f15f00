"""The authors' code of scores and glimpses; these stand side by side, with our last layer behind them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fusions.hand import Inputs
from mmkit.fusions.tokens.bilinear_attention import BilinearAttentionFusion

REPOSITORY, FILE, INPUTS = "jnhwkim/ban-vqa", "attention.py", 2
IMPORTS_FROM = "."
PADDED = False
NOTE = (
    "its weight normalisation is there, with norms that give our weights; its scores have a bias, which is zero; the "
    "factors of its glimpses have no ReLU, which is an option of its; no token is padding, and its mask is off; scores "
    "are copied for a view of them that PyTorch now refuses"
)


def published(module: Any, fusion: BilinearAttentionFusion) -> tuple[nn.Module, Callable[[Inputs], Tensor]]:
    widths = [linear.in_features for linear in fusion.project.values()]
    attention = module.BiAttention(*widths, fusion.width, fusion.glimpses)
    glimpses = nn.ModuleList(module.BCNet(*widths, fusion.width, None, act="", k=1) for _ in range(fusion.glimpses))
    networks = [attention.logits, *glimpses]
    sizes = [fusion.rank, *(fusion.width,) * fusion.glimpses]
    with torch.no_grad():
        _normed(attention.logits, "h_mat", fusion.scores[None, :, None])
        attention.logits.h_bias.zero_()
        for side, linear in zip(("v_net", "q_net"), fusion.project.values(), strict=True):
            for network, weight, bias in zip(
                networks, linear.weight.split(sizes), linear.bias.split(sizes), strict=True
            ):
                layer = getattr(network, side).main[1]
                _normed(layer, "weight", weight)
                layer.bias.copy_(bias)
    attention.logits.register_forward_hook(lambda _, __, scores: scores.contiguous())
    mix = deepcopy(fusion.mix)

    def form(inputs: Inputs) -> Tensor:
        (left, _), (right, _) = inputs
        weights, _ = attention(left, right, v_mask=False)
        seen = [glimpse.forward_with_weights(left, right, weights[:, g]) for g, glimpse in enumerate(glimpses)]
        return mix(torch.cat(seen, 1))

    return nn.ModuleList([attention, glimpses, mix]), form


def _normed(layer: nn.Module, name: str, weight: Tensor) -> None:
    """A weight under weight normalisation: its direction and its norm."""
    getattr(layer, f"{name}_v").copy_(weight)
    getattr(layer, f"{name}_g").copy_(weight.norm())
