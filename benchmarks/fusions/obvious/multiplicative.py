"""A linear layer of the first vector, and for each other one a linear layer of factors and one of shifts."""

from __future__ import annotations

from torch import Tensor

from mmkit.fusions.vectors.multiplicative import MultiplicativeFusion


def obvious(fusion: MultiplicativeFusion, vectors: list[Tensor]) -> Tensor:
    first, *others = vectors
    found = fusion.terms.first(first)
    for layer, vector in zip(fusion.terms.others.values(), others, strict=True):
        factor, shift = layer(vector).chunk(2, 1)
        found = factor * found + shift
    return found
