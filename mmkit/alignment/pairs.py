"""Samples with two inputs: which have both, which of their values are equal, and how they rank each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Samples
from mmkit.data.subset import select
from mmkit.errors import DataError
from mmkit.metrics.ranking import ranks
from mmkit.system.hashing import digest

MOST = 10_000
"""Samples that are queries at most: all pairs of more take hours, and shares of these are known to half a point."""


def with_both(samples: Samples, a: str, b: str) -> Samples:
    """The samples that have both inputs.

    Raises:
        DataError: there are fewer than two.
    """
    both = zip(samples.inputs[a], samples.inputs[b], strict=True)
    kept = [place for place, (one, other) in enumerate(both) if one is not None and other is not None]
    if len(kept) < 2:
        raise DataError(f"{len(kept)} samples have both inputs {a} and {b}; expected two or more")
    return select(samples, kept)


def equal_values(samples: Samples, inputs: Sequence[str]) -> Tensor:
    """[N L]: a number for each value of each of L inputs, the same for equal values."""
    columns = []
    for name in inputs:
        seen: dict[str, int] = {}
        columns.append([seen.setdefault(_plain(value), len(seen)) for value in samples.inputs[name]])
    return torch.tensor(columns).T


def _plain(value: Any) -> str:
    return " ".join(value.casefold().split()) if isinstance(value, str) else digest(value)


def queries_of(count: int) -> Tensor:
    """The places [Q] of the samples that are asked for: all, or `MOST` of them, drawn with seed 0."""
    if count <= MOST:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:MOST].sort().values


def ranks_both_ways(a: Tensor, b: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """[Q] ranks of the right answers in b for the rows of a that are queries, and the other way; see `ranks`."""
    chosen = queries_of(len(a))
    labels = same[chosen], same
    return ranks(a[chosen], b, labels), ranks(b[chosen], a, labels)
