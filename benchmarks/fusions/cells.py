"""Sizes and situations at which a fusion is timed, and the goal of each.

Axes: B batch, D width of an input, M inputs, T tokens of an input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from mmkit.plugin import FusionSpec

BATCHES, WIDTHS, INPUTS, TOKENS = (8, 64, 512), (128, 512), (2, 3), (32, 128)
QUICK = (64, 128, 2, 32)
"""B, D, M and T where one size has to do."""


@dataclass(frozen=True)
class Cell:
    """One measurement; `what` is "forward" or "both ways"."""

    fusion: str
    batch: int
    width: int
    inputs: int
    tokens: int
    missing: bool
    what: str

    @staticmethod
    def of(row: dict[str, Any]) -> Cell:
        """That of a row of the record."""
        return Cell(**{name: row[name] for name in Cell.__dataclass_fields__})

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def size(self) -> dict[str, Any]:
        """What `speed.make` takes."""
        return {"batch": self.batch, "width": self.width, "inputs": self.inputs, "tokens": self.tokens}

    @property
    def goal(self) -> float:
        """The greatest ratio to the obvious form that is wanted; of tokens both forms read masks."""
        if self.batch == 8:
            return 1.15
        return 1.15 if self.missing and self.tokens == 1 else 1.05


def cells(spec: FusionSpec, *, quick: bool = False) -> Iterator[Cell]:
    """Those of a fusion: of vectors with and without missing inputs, of tokens with, as padding is there anyway.

    Of several tokens a batch is at most 64 where D or T is the greater.
    """
    over_tokens = spec.family == "tokens"
    lengths = ((QUICK[3],) if quick else TOKENS) if over_tokens else (1,)
    sizes = [QUICK[:3]] if quick else list(product(BATCHES, WIDTHS, INPUTS))
    situations = (True,) if over_tokens else (False, True)
    for (batch, width, inputs), tokens, missing in product(sizes, lengths, situations):
        fits = spec.min_inputs <= inputs and (spec.max_inputs is None or inputs <= spec.max_inputs)
        if not fits or (over_tokens and batch > 64 and (tokens > TOKENS[0] or width > WIDTHS[0])):
            continue
        for what in ("forward", "both ways"):
            yield Cell(spec.name, batch, width, inputs, tokens, missing, what)
