"""Deep sets: one network reads each input, the results are pooled over the set, and another network reads the pool.

Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov and Smola, "Deep Sets", NeurIPS 2017,
https://arxiv.org/abs/1703.06114. What differs: the members of the set are of different kinds, so each input has a
linear layer of its own before the network that all share; each member is normalised before it is pooled, as
TorchMultimodal's `deepset_fusion.py` does, there to length 1, here by layer normalisation; and the mean is the default,
where the paper has the sum, whose size hangs on how many inputs are there.

Axes: B batch, M inputs, D an input's width, F hidden width, H fused width.

    z_m = norm(inner(W_m x_m + b_m))   [B H],   inner and outer: Linear(H, F), relu, Linear(F, H)
    y = outer(pool of z_m over the inputs that are there)   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import complete, one_token, present, weighed


class DeepSetsFusion(nn.Module):
    """A network over the pool of what another one, shared by all inputs, makes of each.

    A missing input is no member of the set: it adds nothing, and counts in no mean. Where all are missing the pool is
    zero, and the result is what the outer network makes of it, a constant.

    Args:
        widths: D of each input, by name.
        width: H, the width of the members and of the fused features.
        hidden: F, hidden width of both networks.
        pool: how the members are pooled: their "mean", "sum", or elementwise "max".
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        hidden: Annotated[int, Gt(0)] = 128,
        pool: Literal["mean", "sum", "max"] = "mean",
    ) -> None:
        super().__init__()
        self.width = width
        self.pool = pool
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.inner = network(width, hidden)
        self.norm = nn.LayerNorm(width)
        self.outer = network(width, hidden)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        each = torch.stack([layer(features[name].vector()) for name, layer in self.project.items()], 1)  # [B M H]
        members = self.norm(self.inner(each))
        there = None if complete(features, self.project) else present(features, self.project)  # [B M]
        return one_token(self.outer(self._pooled(members, there)), features, self.project)

    def _pooled(self, members: Tensor, there: Tensor | None) -> Tensor:
        """[B H] of [B M H]."""
        if there is None:
            if self.pool == "max":
                return members.amax(1)
            return members.mean(1) if self.pool == "mean" else members.sum(1)
        if self.pool == "max":
            largest = masked(members, there.unsqueeze(2), torch.finfo(members.dtype).min).amax(1)
            return masked(largest, there.any(1, keepdim=True))
        shares = there.to(members.dtype)
        if self.pool == "mean":
            shares = shares / shares.sum(1, keepdim=True).clamp(min=1)
        return weighed(members.unbind(1), shares.split(1, 1))


def network(width: int, hidden: int) -> nn.Sequential:
    """[... H] to [... H] by one hidden layer."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
