"""Tucker fusion of two inputs whose core is a sum of few products: bilinear pooling at a chosen rank.

Ben-younes, Cadene, Cord and Thome, "MUTAN: Multimodal Tucker Fusion for Visual Question Answering", ICCV 2017,
https://arxiv.org/abs/1705.06676. What differs: no tanh and no dropout on the projections unless they are asked for, and
biases, as in the authors' later code; and smaller sizes, for fewer samples (there m is 1600 and R is 15).

Axes: B batch, D an input's width, m inner width, R rank, H fused width.

    u = W_1 x_1 + b_1,  v = W_2 x_2 + b_2   [B m]
    z = sum_r (M_r u + a_r) * (N_r v + c_r)   [B m],   or z_k = sum_ij C_kij u_i v_j with a full core C [m m m]
    y = W z + b   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.vectors import one_token, outer, there


class MutanFusion(nn.Module):
    """Both inputs are projected, multiplied in every combination that the core holds, and projected again.

    A missing input is a factor of one, so that what is left is linear in the other. Where both are missing, the result
    is a constant.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        inner: m, the width in which the inputs are multiplied.
        rank: R, the products that the core is a sum of; none is a full core, of m * m * m weights.
        activation: what follows the projections; the paper's is "tanh".
        dropout: of the projections, in training.

    Raises:
        ValueError: any number of inputs but two.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        inner: Annotated[int, Gt(0)] = 128,
        rank: Annotated[int, Gt(0)] | None = 5,
        activation: Literal["none", "tanh"] = "none",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    ) -> None:
        super().__init__()
        if len(widths) != 2:
            given = f"{len(widths)} ({', '.join(widths)})"
            raise ValueError(f"mutan takes two inputs; got {given}: the low-rank fusion multiplies any number")
        self.width = width
        self.rank = rank
        self.project = nn.ModuleDict({name: nn.Linear(d, inner) for name, d in widths.items()})
        self.activation = nn.Tanh() if activation == "tanh" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.factors = nn.ModuleDict({name: nn.Linear(inner, rank * inner) for name in widths if rank})
        self.core = None if rank else nn.Linear(inner * inner, inner, bias=False)
        self.mix = nn.Linear(inner, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        first, second = (self._factor(name, features[name]) for name in self.project)
        if self.core is None:
            product = (first * second).unflatten(1, (self.rank, -1)).sum(1)  # [B m]
        else:
            product = self.core(outer(first, second))
        return one_token(self.mix(product), features, self.project)

    def _factor(self, name: str, features: Features) -> Tensor:
        """[B R*m], or [B m] for a full core; one where the input is missing."""
        found: Tensor = self.dropout(self.activation(self.project[name](features.vector())))
        if self.core is None:
            found = self.factors[name](found)
        return found if features.complete else masked(found, there(features), 1.0)
