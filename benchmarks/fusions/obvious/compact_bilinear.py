"""Count sketches, multiplied as Fourier transforms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.fusions.vectors.compact_bilinear import CompactBilinearFusion


def obvious(fusion: CompactBilinearFusion, vectors: list[Tensor]) -> Tensor:
    spectrum = None
    for sketch, vector in zip(fusion.sketch.values(), vectors, strict=True):
        sketched = torch.zeros(len(vector), fusion.size, device=vector.device, dtype=vector.dtype)
        sketched = sketched.scatter_add(1, sketch.places.expand_as(vector), vector * sketch.signs)
        found = torch.fft.rfft(sketched)
        spectrum = found if spectrum is None else spectrum * found
    product = torch.fft.irfft(spectrum, n=fusion.size)
    rooted = product.sign() * ((product.abs() + 1e-6).sqrt() - 1e-3)
    return fusion.mix(F.normalize(rooted))
