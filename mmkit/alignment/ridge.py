"""A linear map between the spaces of two encoders that were trained apart, by ridge regression.

Hoerl and Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 1970,
https://doi.org/10.1080/00401706.1970.10488634.

Axes: N pairs, A and B widths of the vectors of the two encoders, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0)
"""Strengths of the regularisation to try; 1 shrinks a direction of mean variance by half."""


@dataclass(frozen=True)
class RidgeMap:
    """A fitted map from the space of A to that of B, for unit vectors, centred by the mean of the training pairs.

    Args:
        weight: [A B].
        mean_a: [A], of the training vectors.
        mean_b: [B].
        strength: of the regularisation.
    """

    weight: Tensor
    mean_a: Tensor
    mean_b: Tensor
    strength: float

    def of_a(self, vectors: Tensor) -> Tensor:
        """[N B] from vectors of A [N A]."""
        return (_unit(vectors) - self.mean_a) @ self.weight

    def of_b(self, vectors: Tensor) -> Tensor:
        """[N B] from vectors of B [N B]."""
        return _unit(vectors) - self.mean_b


def ridge_maps(a: Tensor, b: Tensor, strengths: Sequence[float] = STRENGTHS) -> Iterator[RidgeMap]:
    """A map for each strength, fitted on pairs a [N A] and b [N B]; all share one decomposition."""
    a, b = _unit(a), _unit(b)
    mean_a, mean_b = a.mean(0), b.mean(0)
    u, s, v = torch.linalg.svd(a - mean_a, full_matrices=False)  # [N R], [R], [R A]
    projected = u.T @ (b - mean_b)  # [R B]
    for strength in strengths:
        shrunk = s / (s.square() + strength * s.square().mean())
        yield RidgeMap(v.T @ (shrunk.unsqueeze(1) * projected), mean_a, mean_b, strength)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.double(), dim=-1)
