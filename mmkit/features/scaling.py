"""The features of a frozen encoder, brought to one scale.

What pretrained encoders give differs in scale by orders of magnitude, and no weight of theirs can learn to mend it. So
the centre and the scale of each input are fitted on the training split, as they would be for a linear model.

Axes: B batch, T tokens, D width, R rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.data.packed import Packed

NORM = 2.0
"""The root of the mean squared norm of what comes out; chosen on validation, see `benchmarks/scaling.py`."""
_ROWS = 65_536


class Scaling(nn.Module):
    """Subtracts a mean and divides by one number, so that directions stay as they are and inputs weigh alike.

    As long as nothing was fitted, features pass as they are. Nothing here is trained.

    Args:
        width: D.
        vectors: True where nobody looks at more than the features' `vector()`; tokens then end here.

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
        """Learn from the features of the training split; tokens and summaries each have their own scale."""
        self._learn("tokens", features.tokens)
        if features.pooled is not None:
            self._learn("pooled", features.pooled[features.offsets.diff() > 0])

    def _learn(self, leaf: str, rows: Tensor) -> None:
        mean, norm = moments(rows)
        scale = NORM / norm if norm > 0 else 1.0
        self.get_buffer(f"{leaf}_shift").copy_((-scale * mean).float())  # MPS has no float64
        self.get_buffer(f"{leaf}_scale").fill_(scale)

    def forward(self, features: Features) -> Features:
        """[B T D], or [B 1 D] where vectors are enough; zero where nothing is there."""
        if self.vectors:
            features = Features.of(features.vector(), features.present())
        pooled = None if features.pooled is None else self._scaled("pooled", features.pooled)
        return Features.of(self._scaled("tokens", features.tokens), features.mask, pooled, features.penalties)

    def _scaled(self, leaf: str, values: Tensor) -> Tensor:
        return torch.addcmul(self.get_buffer(f"{leaf}_shift"), values, self.get_buffer(f"{leaf}_scale"))


def moments(rows: Tensor) -> tuple[Tensor, float]:
    """The mean [D] of [R D], and the root of the mean squared distance from it, summed in float64; zero of no rows.

    >>> moments(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    (tensor([2., 0.], dtype=torch.float64), 1.0)
    """
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    square = 0.0
    for part in rows.split(_ROWS):
        wide = part.to("cpu", torch.float64)
        total += wide.sum(0)
        square += float(wide.square().sum())
    count = max(len(rows), 1)
    mean = total / count
    return mean, max(square / count - float(mean.square().sum()), 0.0) ** 0.5
