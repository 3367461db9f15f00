"""Factorised bilinear pooling of two inputs: products of projections, summed in groups, rooted and normalised.

Yu et al., "Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question Answering", ICCV
2017, https://arxiv.org/abs/1708.01471; Yu et al., "Beyond Bilinear: Generalized Multimodal Factorized High-order
Pooling for Visual Question Answering", TNNLS 2018, https://arxiv.org/abs/1708.03619, for the second order. What
differs: the co-attention of the papers is no part of it; the two parts of the second order share the fused width, which
is smaller, for fewer samples (there each has 1000 numbers); and near zero the square root is a line.

Axes: B batch, D an input's width, H fused width, P = H / order the width of a part, k numbers of a group.

    e_1 = dropout((U_1 x_1 + b_1) * (V_1 x_2 + c_1))   [B P*k]
    z_1 = normalised(root(sum over each group of k neighbours of e_1))   [B P]
    e_2 = dropout((U_2 x_1 + b_2) * (V_2 x_2 + c_2) * e_1), and z_2 of it likewise
    y = z_1, or [z_1; z_2] of order 2   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.roots import signed_root
from mmkit.layers.vectors import one_token, projected


class MfbFusion(nn.Module):
    """Each fused number is a sum of a few products of two projections.

    A missing input is a factor of one, so that what is summed is linear in the other. Where both are missing, the
    result is a constant.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features; a multiple of `order`.
        factors: k, products that are summed.
        order: 1, or 2 for two parts, of which the second multiplies the products of the first once more (MFH).
        norm: whether each part is rooted and brought to length 1; without, and with one factor, it is the product.
        dropout: of the products, in training.

    Raises:
        ValueError: any number of inputs but two, or `order` does not divide `width`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        factors: Annotated[int, Gt(0)] = 5,
        order: Annotated[int, Ge(1), Le(2)] = 1,
        norm: bool = True,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        if len(widths) != 2:
            given = f"{len(widths)} ({', '.join(widths)})"
            raise ValueError(f"mfb takes two inputs; got {given}: the low-rank fusion multiplies any number")
        if width % order:
            raise ValueError(f"width {width} is not divisible by order {order}; take a width that is")
        self.width = width
        self.factors = factors
        self.order = order
        self.norm = norm
        self.project = nn.ModuleDict({name: nn.Linear(d, width * factors) for name, d in widths.items()})
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        first, second = projected(features, self.project, 1.0)
        products = (first * second).chunk(self.order, 1)  # [B P*k] each
        product = self.dropout(products[0])
        parts = [self._pooled(product)]
        for further in products[1:]:
            product = self.dropout(further * product)
            parts.append(self._pooled(product))
        return one_token(parts[0] if self.order == 1 else torch.cat(parts, 1), features, self.project)

    def _pooled(self, product: Tensor) -> Tensor:
        """[B P] of [B P*k]."""
        found = product.unflatten(1, (-1, self.factors)).sum(2)
        return F.normalize(signed_root(found), dim=1) if self.norm else found
