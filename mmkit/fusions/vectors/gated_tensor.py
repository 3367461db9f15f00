"""Gated tensor fusion (Pathomic): inputs open gates for one another, then their outer product is taken.

Chen et al., "Pathomic Fusion: An Integrated Framework for Fusing Histopathology and Genomic Features for Cancer
Diagnosis and Prognosis", TMI 2020, https://arxiv.org/abs/1912.08937. What differs: inputs of any width are gated into
the inner width, where the paper's have it already; of three inputs any may be the anchor, which opens the gates of the
others and is gated by the first of them (the genome, in the authors' code the last); the ones at the ends of the
vectors, which are a second bias, stay out of the join behind the product; the bilinear forms start with the size of the
vectors, where those of `nn.Bilinear`, for vectors as wide as these, saturate the gates.

Axes: B batch, M inputs, D an input's width, K inner width, R hidden width, H fused width; p(m) who opens the gate of m.

    o_m = relu(V_m (sigmoid(x_p(m)' Z_m x_m + z_m) * relu(W_m x_m + b_m)) + v_m)   [B K]
    q = relu(P ([o_1; 1] outer ... outer [o_M; 1]) + p)   [B R]
    y = relu(Q [q; o_1; ...; o_M] + c)   [B H]
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.bilinear import Bilinear
from mmkit.layers.chosen import masked
from mmkit.layers.others import Others
from mmkit.layers.vectors import Inputs, one_token, outer, projected, there


class GatedTensorFusion(nn.Module):
    """Two layers over the outer product of gated vectors, each with a 1 at its end.

    A missing input is the vector (0, ..., 0, 1), so that only the terms without it remain, and it leaves the gate open
    that it would have set.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        inner: K, the width to which each input is gated; the product has (K + 1)^M numbers.
        hidden: R, the width of the layer over the product.
        gate: of what the gates are made: "bilinear", all products of a number of an input with one of the other; or
            "linear", a layer over the two.
        dropout: rate of dropout on the gated vectors, their product, the hidden layer and the result, in training.
        anchor: name of the input that opens the gates of the others; none is the first by name.
        budget: greatest number of parameters; a fusion that needs more is refused.

    Raises:
        ValueError: any number of inputs but two or three, `anchor` is no input, or it would need more parameters than
            `budget`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: Annotated[int, Gt(0)] = 128,
        inner: Annotated[int, Gt(0)] = 32,
        hidden: Annotated[int, Gt(0)] = 64,
        gate: Literal["bilinear", "linear"] = "bilinear",
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.25,
        anchor: str | None = None,
        budget: Annotated[int, Gt(0)] = 50_000_000,
    ) -> None:
        super().__init__()
        if len(widths) > 3:
            raise ValueError(
                f"gated tensor fusion takes two or three inputs; got {len(widths)} ({', '.join(widths)}): its product "
                "grows with the power of their number; take the low-rank fusion"
            )
        others = Others(widths, anchor)
        parameters = _size(widths, others, width, inner, hidden, bilinear=gate == "bilinear")
        if parameters > budget:
            shape = ", ".join(f"{name} {d}" for name, d in widths.items())
            raise ValueError(
                f"gated tensor fusion of {shape} to inner width {inner} needs {parameters:,} parameters, more than its "
                f"budget of {budget:,}: take a smaller `inner`, gate=linear, or raise `budget`"
            )
        self.width = width
        self.others = others
        self.project = nn.ModuleDict({name: nn.Linear(d, inner) for name, d in widths.items()})
        kind = Bilinear if gate == "bilinear" else Joined
        first, *rest = others.names
        numbers = {first: 2 * inner} | dict.fromkeys(rest, inner)
        self.gate = nn.ModuleDict({name: kind(widths[others.anchor], widths[name], k) for name, k in numbers.items()})
        """By each of the others, with the anchor; the first makes the gate of the anchor too."""
        self.bias = nn.ParameterDict({name: nn.Parameter(torch.zeros(inner)) for name in widths})
        self.narrow = nn.ModuleDict({name: nn.Linear(inner, inner) for name in widths})
        self.mix = nn.Linear((inner + 1) ** len(widths), hidden)
        self.join = nn.Linear(hidden + len(widths) * inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        gates = self._gates(features)  # [B K] each
        gated = []
        for name, value in zip(self.project, projected(features, self.project, 0.0), strict=True):
            kept = self.narrow[name](gates[name] * value.relu()).relu()
            if not features[name].complete:
                kept = masked(kept, there(features[name]))
            gated.append(self.dropout(kept))
        product = reduce(outer, [F.pad(one, (0, 1), value=1.0) for one in gated])
        hidden = self.dropout(self.mix(self.dropout(product)).relu())
        fused = self.dropout(self.join(torch.cat([hidden, *gated], 1)).relu())
        return one_token(fused, features, self.project)

    def _gates(self, features: Inputs) -> dict[str, Tensor]:
        """[B K] each, from 0 to 1; 1 where the input that sets it is missing."""
        anchor, (first, *_) = self.others.anchor, self.others.names
        x = features[anchor].vector()
        forms: dict[str, Tensor] = {name: layer(x, features[name].vector()) for name, layer in self.gate.items()}
        forms[anchor], forms[first] = forms[first].chunk(2, 1)
        found = {}
        for name, form in forms.items():
            opener = first if name == anchor else anchor
            gate = (form + self.bias[name]).sigmoid()
            found[name] = gate if features[opener].complete else masked(gate, there(features[opener]), 1.0)
        return found


class Joined(nn.Module):
    """A linear form of two vectors, in the place of a bilinear one.

    Args:
        first: width of one vector.
        second: of the other.
        width: of the result.
    """

    def __init__(self, first: int, second: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(first + second, width, bias=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """[B width]."""
        return cast(Tensor, self.layer(torch.cat([first, second], 1)))


def _size(widths: Mapping[str, int], others: Others, width: int, inner: int, hidden: int, *, bilinear: bool) -> int:
    """The number of parameters."""
    count = len(widths)
    first, numbers = widths[others.anchor], 0
    for place, name in enumerate(others.names):
        of_two = first * widths[name] if bilinear else first + widths[name]
        numbers += of_two * inner * (2 if place == 0 else 1)
    numbers += sum(widths.values()) * inner + 2 * count * inner + count * (inner**2 + inner)
    numbers += (inner + 1) ** count * hidden + hidden
    return numbers + (hidden + count * inner) * width + width
