"""Samples with two inputs: which have both, which of their values are equal, and how they rank each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Samples
from mmkit.errors import DataError
from mmkit.metrics.ranking import ranks
from mmkit.system.hashing import digest


def with_both(samples: Samples, a: str, b: str) -> Samples:
    """The samples that have both inputs.

    Raises:
        DataError: there are fewer than two.
    """
    kept = [i for i in range(len(samples)) if samples.inputs[a][i] is not None and samples.inputs[b][i] is not None]
    if len(kept) < 2:
        raise DataError(f"{len(kept)} samples have both inputs {a} and {b}; expected two or more")
    inputs = {name: [column[i] for i in kept] for name, column in samples.inputs.items()}
    return Samples([samples.ids[i] for i in kept], inputs, [samples.truth[i] for i in kept])


def equal_values(samples: Samples, inputs: Sequence[str]) -> Tensor:
    """[N L]: a number for each value of each of L inputs, the same for equal values."""
    columns = []
    for name in inputs:
        seen: dict[str, int] = {}
        columns.append([seen.setdefault(_plain(value), len(seen)) for value in samples.inputs[name]])
    return torch.tensor(columns).T


def _plain(value: Any) -> str:
    return " ".join(value.casefold().split()) if isinstance(value, str) else digest(value)


def ranks_both_ways(a: Tensor, b: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """[N] ranks of the right answers in b for each row of a, and in a for each row of b; see `ranks`."""
    return ranks(a, b, (same, same)), ranks(b, a, (same, same))
