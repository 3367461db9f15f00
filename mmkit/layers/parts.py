"""What encoders share that may be stopped between their parts (`StagedEncoder` of the contract).

Axes: B batch, D width, T tokens, ... positions of a map, of which the mask may cover the first or none.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmkit.contract import Batch, Features


def in_turn(encoder: Any, batch: Batch) -> Features:
    """All parts of an encoder one after the other, with nothing between them: its `forward`."""
    state = encoder.begin(batch)
    for number in range(len(encoder.inner)):
        state = encoder.stage(number, state)
    features: Features = encoder.finish(state)
    return features


def tokens_of(values: Tensor, mask: Tensor) -> Features:
    """A map [B D ...] as tokens [B T D], a token a position.

    Args:
        values: [B D T], [B D H W] or [B D T M].
        mask: [B], or [B T] of the first axis of positions.
    """
    tokens = values.flatten(2).transpose(1, 2)
    for size in values.shape[mask.ndim + 1 :]:  # the axes that the mask does not cover
        mask = mask.unsqueeze(-1).expand(*mask.shape, size)
    return Features(tokens, mask.flatten(1), complete=False)


def map_of(features: Features, like: Tensor) -> Tensor:
    """[B D ...], the tokens back in the shape of the map that they were made of."""
    return features.tokens.transpose(1, 2).unflatten(2, like.shape[2:])
