"""Two encoders that know nothing of each other, brought into one space by a ridge regression of their vectors.

Hoerl and Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics 1970,
https://doi.org/10.1080/00401706.1970.10488634.

Axes: N pairs, A and B widths of the vectors on the two sides, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0)
"""Those that are tried; 1 shrinks a direction of the mean variance by half."""


@dataclass(frozen=True)
class RidgeMap:
    """A fitted map from the space of A to that of B; both are of unit vectors, centred where training pairs lie.

    Args:
        weight: [A B].
        middle_a: [A].
        middle_b: [B].
        strength: of the regularisation.
    """

    weight: Tensor
    middle_a: Tensor
    middle_b: Tensor
    strength: float

    def of_a(self, vectors: Tensor) -> Tensor:
        """[N B] of [N A]."""
        return (_unit(vectors) - self.middle_a) @ self.weight

    def of_b(self, vectors: Tensor) -> Tensor:
        """[N B] of [N B]."""
        return _unit(vectors) - self.middle_b


def ridge_maps(a: Tensor, b: Tensor, strengths: Sequence[float] = STRENGTHS) -> Iterator[RidgeMap]:
    """The map of each strength, of pairs a [N A] and b [N B]; one decomposition serves all of them."""
    a, b = _unit(a), _unit(b)
    middle_a, middle_b = a.mean(0), b.mean(0)
    u, s, v = torch.linalg.svd(a - middle_a, full_matrices=False)  # [N R], [R], [R A]
    along = u.T @ (b - middle_b)  # [R B]
    for strength in strengths:
        shrunk = s / (s.square() + strength * s.square().mean())
        yield RidgeMap(v.T @ (shrunk.unsqueeze(1) * along), middle_a, middle_b, strength)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.double(), dim=-1)
