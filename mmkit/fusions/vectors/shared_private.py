"""Shared and private features (MISA): each input in a space that all share and in one of its own, kept apart.

Hazarika, Zimmermann and Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
Analysis", MM 2020, https://arxiv.org/abs/2005.03545.

    z_m = norm_m(relu(W_m x_m + b_m))    s_m = sigmoid(A z_m)    r_m = sigmoid(A_m z_m)
    y = V relu(U [transformer layer over the tokens r_1, ..., r_M, s_1, ..., s_M])
    penalties: similar mean_ij CMD(s_i, s_j)  +  different (sum_m diff(r_m, s_m) + sum_ij diff(r_i, r_j))
               + rebuild mean_m mean_h (R_m (r_m + s_m) - z_m)^2

CMD is the central moment discrepancy, diff the difference loss of domain separation networks: both in
mmkit/layers/discrepancy.py, over the rows in which both inputs are there. CMD is a mean over pairs, as in code that was
read beside the paper. What differs: any number of inputs, where the paper has three; the transformer layer is pre-norm,
and dropout is an option of it alone.

Axes: B batch, M inputs, D an input's width, H fused width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.attention import TransformerLayer
from mmkit.layers.batch_sums import batch_sums
from mmkit.layers.discrepancy import likeness, moment_distance
from mmkit.layers.precision import exactly
from mmkit.layers.vectors import complete, one_token, present


class SharedPrivateFusion(nn.Module):
    """Features of each input in a shared space and in its own, as tokens of a transformer layer, all of them joined.

    A missing input is no token, and zero in the join. Its details, where they are asked for, are `shared.INPUT` and
    `private.INPUT`. Penalties are of the batch, the same for each sample, in float32 at least; in evaluation there are
    none.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        heads: of the transformer layer.
        dropout: in the transformer layer.
        similar: weight of the penalty that makes shared features alike over inputs.
        different: weight of the penalty that keeps private features apart from shared ones and from each other.
        rebuild: weight of the penalty by which both together hold what the input said.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        heads: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        similar: Annotated[float, Ge(0)] = 1.0,
        different: Annotated[float, Ge(0)] = 0.3,
        rebuild: Annotated[float, Ge(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.width = width
        self.similar = similar
        self.different = different
        self.rebuild = rebuild
        self.detailed = False
        self.project = nn.ModuleDict({name: nn.Linear(d, width) for name, d in widths.items()})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(width) for name in widths})
        self.shared = nn.Linear(width, width)
        self.private = nn.ModuleDict({name: nn.Linear(width, width) for name in widths})
        self.layer = TransformerLayer(width, heads, dropout)
        self.mix = nn.Sequential(nn.Linear(2 * len(widths) * width, 3 * width), nn.ReLU(), nn.Linear(3 * width, width))
        self.rebuilt = nn.ModuleDict({name: nn.Linear(width, width) for name in widths})

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with the penalties `similar`, `different` and `rebuild` in training."""
        given = [
            norm(linear(features[name].vector()).relu())
            for (name, linear), norm in zip(self.project.items(), self.norm.values(), strict=True)
        ]  # [B H] each
        stacked = torch.stack(given, 1)  # [B M H]
        shared = self.shared(stacked).sigmoid()
        private = torch.stack([own(z) for own, z in zip(self.private.values(), given, strict=True)], 1).sigmoid()
        whole = complete(features, self.project)
        there = present(features, self.project)  # [B M]
        twice = torch.cat([there, there], 1)  # [B 2M]
        tokens = self.layer(torch.cat([private, shared], 1), twice)  # [B 2M H]
        if not whole:
            tokens = tokens * twice.unsqueeze(2)
        found = one_token(self.mix(tokens.flatten(1)), features, self.project)
        if self.training:
            found.penalties.update(self._penalties(stacked, shared, private, there))
        if not self.detailed:
            return found
        parts = zip(self.project, shared.unbind(1), private.unbind(1), strict=True)
        return replace(
            found, details={f"{kind}.{n}": part for n, s, r in parts for kind, part in (("shared", s), ("private", r))}
        )

    def _penalties(self, given: Tensor, shared: Tensor, private: Tensor, there: Tensor) -> dict[str, Tensor]:
        """[B] each, the same in all rows; from [B M H] each and [B M]."""
        precise = torch.promote_types(given.dtype, torch.float32)
        inputs = range(len(self.project))
        pairs = list(itertools.combinations(inputs, 2))
        with exactly(given.device):
            weights = there.to(precise)
            z, s, r = (part.to(precise).unbind(1) for part in (given, shared, private))  # [B H] each
            w = weights.unbind(1)  # [B] each
            found: dict[str, Tensor] = {}
            if pairs:
                found["similar"] = torch.stack([moment_distance(s[i], s[j], w[i] * w[j]) for i, j in pairs]).mean()
            apart = [(r[i], s[i], w[i]) for i in inputs] + [(r[i], r[j], w[i] * w[j]) for i, j in pairs]
            found["different"] = torch.stack([likeness(*each) for each in apart]).sum()
            errors = [(rebuilt(r[i] + s[i]) - z[i]).square().mean(1) for i, rebuilt in enumerate(self.rebuilt.values())]
            total, count = batch_sums((torch.stack(errors, 1) * weights).sum(), weights.sum())
            found["rebuild"] = total / count.clamp(min=1)
        strength = {"similar": self.similar, "different": self.different, "rebuild": self.rebuild}
        return {name: (strength[name] * penalty).expand(there.shape[0]) for name, penalty in found.items()}
