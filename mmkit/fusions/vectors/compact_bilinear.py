"""Compact bilinear pooling: the outer product of all inputs' vectors, sketched into few numbers and never built.

Fukui et al., "Multimodal Compact Bilinear Pooling for Visual Question Answering and Visual Grounding", EMNLP 2016,
https://arxiv.org/abs/1606.01847. The sketch: Pham and Pagh, "Fast and Scalable Polynomial Kernels via Explicit Feature
Maps", KDD 2013, https://doi.org/10.1145/2487575.2487591, for any number of factors.

    psi_m(x)_k = sum of s_m(i) x_i over i with h_m(i) = k
    z = irfft(prod_m rfft(psi_m(x_m)))    y = W normalize(signed_root(z)) + b

z is the count sketch of the outer product, with the places h_1 + ... + h_M modulo K and the signs s_1 ... s_M: the
inner product of two of them is, on average over the draws, the product of the inner products of the inputs' vectors.
Two things differ from the paper: any number of inputs, and 2,048 numbers in place of 16,000. That the paper has the
signed root and the norm is told by others; it was not read for them.

Axes: B batch, M inputs, D an input's width, K numbers of the sketch, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Features
from mmkit.layers.roots import signed_root
from mmkit.layers.vectors import one_token, there


class CompactBilinearFusion(nn.Module):
    """The count sketch of the outer product of all vectors, by a product of Fourier transforms, then a linear layer.

    A missing input is the sketch (1, 0, ..., 0), the neutral element of that product. Where all are missing, that is
    the sketch. Sketches and transforms are in float32 at least.

    Args:
        widths: D of each input, by name.
        width: H, the width of the fused features.
        size: K, numbers of the sketch; the more, the nearer to the outer product. Powers of two are fastest.
    """

    def __init__(
        self, widths: Mapping[str, int], *, width: Annotated[int, Gt(0)] = 128, size: Annotated[int, Gt(1)] = 2048
    ) -> None:
        super().__init__()
        self.width = width
        self.size = size
        self.sketch = nn.ModuleDict({name: Sketch(d, size) for name, d in widths.items()})
        self.mix = nn.Linear(size, width)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H]."""
        spectra = [torch.fft.rfft(sketch(features[name])) for name, sketch in self.sketch.items()]  # [B K/2+1] each
        product = torch.fft.irfft(reduce(torch.mul, spectra), n=self.size)  # [B K]
        return one_token(self.mix(F.normalize(signed_root(product))), features, self.sketch)


class Sketch(nn.Module):
    """Adds each number of a vector, with a sign, to one place of a shorter or longer one.

    Places and signs are drawn once and saved with the weights; they are not trained.

    Args:
        width: D.
        size: K.
    """

    places: Tensor
    signs: Tensor

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("places", torch.randint(size, (width,)))
        self.register_buffer("signs", torch.randint(2, (width,)) * 2.0 - 1)

    def forward(self, features: Features) -> Tensor:
        """[B K]; where the input is missing, one and then zeros."""
        values = features.vector() * self.signs  # [B D], in the dtype of the signs at least
        if features.complete:
            sketch = values.new_zeros(values.shape[0], self.size)
        else:
            sketch = F.pad((~there(features)).to(values.dtype), (0, self.size - 1))
        return sketch.scatter_add(1, self.places.expand_as(values), values)
