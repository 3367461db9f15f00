"""Hidden layers of a head.

Axes: B batch, D width of the features, H hidden width.
"""

from __future__ import annotations

from typing import Literal

from torch import nn


def hidden_layers(
    width: int, hidden: int, layers: int, dropout: float, norm: Literal["none", "layer"]
) -> nn.Sequential:
    """[B D] to [B H], or nothing at all with 0 layers: linear, norm, GELU and dropout, `layers` times."""
    stack = nn.Sequential()
    for number in range(layers):
        stack.append(nn.Linear(hidden if number else width, hidden))
        if norm == "layer":
            stack.append(nn.LayerNorm(hidden))
        stack.append(nn.GELU())
        stack.append(nn.Dropout(dropout))
    return stack
