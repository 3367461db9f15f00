"""What a fusion sees of features: with another gradient, or of fewer rows; values stay what they are.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

from torch import Tensor

from mmkit.contract import Features


def scaled(features: Features, share: Tensor) -> Features:
    """The features, with so large a share of the gradient as usual: `x * k + (x * (1 - k)).detach()`.

    Args:
        features: of an input.
        share: k; one number, or [B].
    """

    def change(values: Tensor) -> Tensor:
        k = share.to(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
        return values * k + (values * (1 - k)).detach()

    return features.changed(change)


def detached(features: Features) -> Features:
    """The features, through which no gradient passes."""
    return features.changed(Tensor.detach)


def without(features: Features, kept: Tensor) -> Features:
    """The features, missing where they are not kept.

    Args:
        features: of an input.
        kept: [B] bool.
    """
    mask = features.mask & kept.unsqueeze(1)
    return Features.of(features.tokens, mask, features.pooled, features.penalties, features.details, features.inner)
