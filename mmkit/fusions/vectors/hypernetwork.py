"""Hypernetwork: all other inputs generate the weights of the layer that reads one of them, the anchor.

Duenias, Nichyporuk, Arbel and Riklin Raviv, "HyperFusion: A Hypernetwork Approach to Multimodal Integration of Tabular
and Medical Imaging Data for Predictive Modeling", Medical Image Analysis 2025, https://arxiv.org/abs/2403.13319. What
differs: one layer over a vector is generated, where the paper generates some layers of a network for images; the part
of the weights that hangs on no other input begins as that of a linear layer, where the authors' code has zero; and the
others are embedded by one layer and a relu, where that code has two, batch normalisation and a PReLU. The weights of
the generator begin with the variance 1 / (D K), as there for an embedding of variance 1. That code builds the weights
of every sample and loops over the batch; here the sum over k is taken last, so that no weights are built.

Axes: B batch, D an input's width, K width of the embedding, H fused width; x_a the anchor.

    g = relu(E [x_m, m != a] + e)   [B K]
    y = (A_0 + sum_k g_k A_k) x_a + C g + c   [B H],   A_k [H D]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.bilinear import Bilinear
from mmkit.layers.others import Others
from mmkit.layers.vectors import one_token


class HypernetworkFusion(nn.Module):
    """A linear layer of the anchor, whose weights and bias are linear in an embedding of the other inputs.

    A missing input adds nothing to the embedding. Where the anchor is missing the generated bias is left; where all are
    missing, a constant.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        hidden: K, the width of the embedding; there are about D K H weights.
        anchor: name of the input that is read by generated weights; none is the first by name.

    Raises:
        ValueError: one input, or `anchor` is no input.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        hidden: Annotated[int, Gt(0)] = 32,
        anchor: str | None = None,
    ) -> None:
        super().__init__()
        self.width = width
        self.inputs = tuple(widths)
        self.others = Others(widths, anchor)
        self.embed = nn.Linear(self.others.width, hidden)
        self.fixed = nn.Linear(widths[self.others.anchor], width)  # A_0 and c
        self.generated = Bilinear(widths[self.others.anchor], hidden, width)
        self.shift = nn.Linear(hidden, width, bias=False)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        anchor = features[self.others.anchor].vector()
        embedding: Tensor = self.embed(self.others(features)).relu()  # [B K]
        found = self.fixed(anchor) + self.generated(anchor, embedding) + self.shift(embedding)
        return one_token(found, features, self.inputs)
