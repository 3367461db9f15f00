"""Block fusion: two inputs multiplied chunk by chunk, each chunk by a few pairs of matrices.

Ben-younes, Cadene, Thome and Cord, "BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering and Visual
Relationship Detection", AAAI 2019, https://arxiv.org/abs/1902.00038.

    u = W_1 x_1 + b_1    v = W_2 x_2 + b_2    split into chunks u_c, v_c of K/C numbers
    z_c = sum_r (M_rc u_c + m_rc) * (N_rc v_c + n_rc)
    y = W [normalize(signed_root(z_1)); ...; normalize(signed_root(z_C))] + b

It is a bilinear form whose core tensor has C blocks along its diagonal, each of rank R in slices; one chunk is the core
of MUTAN, with root and norm. What differs: 320 numbers in place of 1,600, chunks of one size, and no dropout. The norm
stands where the authors' code has it, of each chunk, or of all of them together.

Axes: B batch, D an input's width, K inner width, C chunks, R rank, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.roots import signed_root
from mmkit.layers.vectors import one_token, projected, there


class BlockFusion(nn.Module):
    """The bilinear form of two inputs whose core is block-diagonal, each block of low rank.

    A missing input is a factor of one, so that the result is linear in the other before the root. Roots and norms are
    computed in float32 at least.

    Args:
        widths: D of each of the two inputs, by name.
        width: H, the width of the fused features.
        inner: K, width to which each input is projected first.
        chunks: C, blocks of the core; must divide `inner`.
        rank: R, pairs of matrices of each block.
        norm: root and norm of each chunk, or of the join of all.

    Raises:
        ValueError: there are not two inputs, or `chunks` does not divide `inner`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        inner: Annotated[int, Gt(0)] = 320,
        chunks: Annotated[int, Gt(0)] = 20,
        rank: Annotated[int, Gt(0)] = 15,
        norm: Literal["chunk", "join"] = "chunk",
    ) -> None:
        super().__init__()
        if len(widths) != 2:
            raise ValueError(f"block fusion is for two inputs; got {len(widths)} ({', '.join(widths)})")
        if inner % chunks:
            raise ValueError(f"inner {inner} is not divisible by chunks {chunks}; take chunks that divide it")
        self.width = width
        self.chunks = chunks
        self.rank = rank
        self.norm = norm
        size = inner // chunks
        self.project = nn.ModuleDict({name: nn.Linear(d, inner) for name, d in widths.items()})
        bound = size**-0.5  # as layers of their own would start; the last row of each is the constant
        self.factors = nn.ParameterDict(
            {name: torch.empty(chunks, size + 1, rank * size).uniform_(-bound, bound) for name in widths}
        )
        self.mix = nn.Linear(inner, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        inner = projected(features, self.project, 0.0)  # [B K] each, zero where the input is missing
        first, second = (
            self._factor(name, features[name], part) for name, part in zip(self.project, inner, strict=True)
        )
        product = (first * second).unflatten(2, (self.rank, -1)).sum(2)  # [C B K/C]
        if self.norm == "chunk":
            product = F.normalize(signed_root(product), dim=2)
        joined = product.transpose(0, 1).flatten(1)  # [B K]
        if self.norm == "join":
            joined = F.normalize(signed_root(joined))
        return one_token(self.mix(joined), features, self.project)

    def _factor(self, name: str, of_input: Features, inner: Tensor) -> Tensor:
        """[C B R*K/C] of [B K]: all chunks in one product of matrices; one where the input is missing."""
        parts = inner.unflatten(1, (self.chunks, -1))  # [B C K/C], zero where it is missing
        if of_input.complete:
            return torch.bmm(F.pad(parts, (0, 1), value=1.0).transpose(0, 1), self.factors[name])
        real = there(of_input).to(
            parts.dtype
        )  # [B 1]; in place of the 1 that meets the constant, and 1 less it is added
        ended = torch.cat([parts, real.unsqueeze(1).expand(-1, self.chunks, 1)], 2)
        return torch.baddbmm(1 - real, ended.transpose(0, 1), self.factors[name])
