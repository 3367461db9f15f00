"""WavLM's attention with its projections called as the linear layers that they are, so that adapters apply to them.

Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", IEEE JSTSP 2022,
https://arxiv.org/abs/2110.13900. The model itself hands their weights to a function of torch, past any adapter.

Axes: B batch, T tokens, D width, H heads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

INNER = "torch_multi_head_self_attention"
"""The method that takes the weights."""


def open_attention(model: nn.Module) -> None:
    """Let every such attention of a model call its projections; of another model nothing changes."""
    for module in model.modules():
        if hasattr(module, INNER):
            setattr(module, INNER, partial(_attended, module))


def _attended(module: Any, states: Tensor, mask: Tensor | None, bias: Tensor) -> tuple[Tensor, None]:
    """[B T D] of the same.

    Args:
        module: the attention.
        states: [B T D].
        mask: [B T], 1 where a token is real.
        bias: [B*H T T], of the positions, to be added.
    """
    q, k, v = (
        project(states).unflatten(2, (module.num_heads, -1)).transpose(1, 2)  # [B H T D/H]
        for project in (module.q_proj, module.k_proj, module.v_proj)
    )
    bias = bias.unflatten(0, (-1, module.num_heads)).to(q.dtype)
    if mask is not None:
        bias = bias.masked_fill(mask.ne(1)[:, None, None], float("-inf"))
    dropout = module.dropout if module.training else 0.0
    found = F.scaled_dot_product_attention(q, k, v, bias, dropout)
    return module.out_proj(found.transpose(1, 2).flatten(2)), None
