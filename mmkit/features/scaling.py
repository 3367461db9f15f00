"""Scaling of the features of pretrained encoders to a common norm.

Features of pretrained encoders differ in scale by orders of magnitude; a frozen encoder cannot learn to correct it, and
one that is tuned at a low rate hardly. So the mean and the scale of each input are fitted on the training split, before
any tuning, as is usual for linear models.

Axes: B batch, T tokens, D width, R rows.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.data.packed import Packed
from mmkit.layers.pairs import wide

NORM = 2.0
"""The root mean square of the norm of scaled features; chosen on validation, see `benchmarks/scaling.py`."""
_ROWS = 65_536


class Scaling(nn.Module):
    """Subtracts a mean and divides by one number, which keeps directions and gives all inputs the same scale.

    Until it is fitted it is the identity. It has no trained parameters.

    Args:
        width: D.
        vectors: reduce the features to their `vector()`, because nothing after this reads tokens.

    >>> Scaling(512, vectors=True)(Features.of(torch.rand(8, 49, 512))).tokens.shape
    torch.Size([8, 1, 512])
    """

    def __init__(self, width: int, *, vectors: bool) -> None:
        super().__init__()
        self.vectors = vectors
        for leaf in ("tokens", "pooled"):
            self.register_buffer(f"{leaf}_shift", torch.zeros(width))
            self.register_buffer(f"{leaf}_scale", torch.ones(()))

    def fit(self, features: Packed) -> None:
        """Fit mean and scale on the features of the training split, of tokens and of pooled vectors separately."""
        self._fit_leaf("tokens", features.tokens)
        if features.pooled is not None:
            self._fit_leaf("pooled", features.pooled[features.offsets.diff() > 0])

    def _fit_leaf(self, leaf: str, rows: Tensor) -> None:
        mean, norm = moments(rows)
        scale = NORM / norm if norm > 0 else 1.0
        self.get_buffer(f"{leaf}_shift").copy_((-scale * mean).float())  # MPS has no float64
        self.get_buffer(f"{leaf}_scale").fill_(scale)

    def forward(self, features: Features) -> Features:
        """Scaled tokens [B T D], or [B 1 D] with `vectors`; zero under a False mask.

        Half precision is widened first, as features are when they are stored, so that both give the same.
        """
        pooled = None if features.pooled is None else wide(features.pooled)
        features = replace(features, tokens=wide(features.tokens), pooled=pooled)
        if self.vectors:
            there = None if features.complete else features.present()
            features = Features.of(features.vector(), there, None, features.penalties, features.details, features.inner)
        pooled = None if features.pooled is None else self._scaled("pooled", features.pooled)
        tokens = self._scaled("tokens", features.tokens)
        scaled = Features.of(tokens, features.mask, pooled, features.penalties, features.details, features.inner)
        return replace(scaled, complete=features.complete)

    def _scaled(self, leaf: str, values: Tensor) -> Tensor:
        return torch.addcmul(self.get_buffer(f"{leaf}_shift"), values, self.get_buffer(f"{leaf}_scale"))


def moments(rows: Tensor) -> tuple[Tensor, float]:
    """The mean [D] of rows [R D], and their root mean square distance from it, in float64; both zero if R is 0.

    >>> moments(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    (tensor([2., 0.], dtype=torch.float64), 1.0)
    """
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    square = 0.0
    for part in rows.split(_ROWS):
        precise = part.to("cpu", torch.float64)
        total += precise.sum(0)
        square += float(precise.square().sum())
    count = max(len(rows), 1)
    mean = total / count
    return mean, max(square / count - float(mean.square().sum()), 0.0) ** 0.5
