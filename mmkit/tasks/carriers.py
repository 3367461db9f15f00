"""How a synthetic input encodes a small whole number: in a series, a table row or a text.

Each value also holds distractors, but the number can always be read back without error. Numbers are drawn by
`random.Random.random`, whose sequence Python promises to keep.

Axes: T steps, C channels.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import torch
from torch import Tensor

Carrier = Literal["series", "table", "text"]

LEVELS = 16
LETTERS = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"),
    *("iota", "kappa", "lambda", "mu", "nu", "xi", "omicron", "pi"),
)
FILLERS = (
    *("river", "stone", "cloud", "window", "garden", "paper", "bridge", "forest"),
    *("mountain", "kitchen", "letter", "winter", "market", "candle", "harbour", "mirror"),
)


def carry_symbol(symbol: int, symbols: int, carrier: Carrier, draw: Random) -> Any:
    """One of several symbols: the channel of a pulse, a number near it, or a word among others."""
    match carrier:
        case "series":
            steps = _noise(symbols, draw)
            start = int(draw.random() * (len(steps) - 2))
            steps[start : start + 3, symbol] += 2
            return steps
        case "table":
            return _row(symbol + 0.5 * (draw.random() - 0.5), draw)
        case "text":
            return _sentence(symbol, draw)


def carry_level(level: int, carrier: Carrier, draw: Random) -> Any:
    """One of `LEVELS` numbers between -1 and 1: a constant channel, a number in a row, or a word of its own."""
    match carrier:
        case "series":
            steps = _noise(2, draw)
            steps[:, 0] = value_of(level)
            return steps
        case "table":
            return _row(value_of(level), draw)
        case "text":
            return _sentence(level, draw)


def value_of(level: int) -> float:
    """The middle of the level, of equal parts of -1 to 1."""
    return (2 * level + 1) / LEVELS - 1


def _noise(channels: int, draw: Random) -> Tensor:
    """[T C] between -0.5 and 0.5, of 8 to 23 steps."""
    length = 8 + int(draw.random() * 16)
    return torch.tensor([draw.random() for _ in range(length * channels)]).view(length, channels) - 0.5


def _row(number: float, draw: Random) -> dict[str, float | str]:
    return {"number": number, "noise": draw.random(), "colour": ("red", "green", "blue")[int(draw.random() * 3)]}


def _sentence(letter: int, draw: Random) -> str:
    words = [FILLERS[int(draw.random() * len(FILLERS))] for _ in range(4 + int(draw.random() * 5))]
    words.insert(int(draw.random() * (len(words) + 1)), LETTERS[letter])
    return " ".join(words)
