"""How far a metric hangs on which samples were measured: the bootstrap.

An interval is the middle 95 % of a metric over samples drawn anew with replacement (Efron and Tibshirani, "An
Introduction to the Bootstrap", Chapman and Hall 1993, chapter 13: percentiles). Of the model's training it says
nothing.

Axes: N samples, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 1000
"""R, where there are few samples."""
LEAST = 200
"""R of many."""
_CELLS = 5_000_000


def resamples_of(cells: int) -> int:
    """R of so many predicted numbers, N by C."""
    return int(np.clip(_CELLS // max(1, cells), LEAST, RESAMPLES))


def drawn_anew(
    count: int, resamples: int, measure: Callable[[Tensor], Mapping[str, float | None]]
) -> dict[str, list[float]]:
    """Each metric of R resamples; one that is not defined in more than a twentieth of them is left out.

    Args:
        count: N.
        resamples: R.
        measure: the metrics of the samples [N] of a resample.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, list[float]] = {}
    for _ in range(resamples if count > 1 else 0):
        for name, value in measure(torch.randint(count, (count,), generator=generator)).items():
            found.setdefault(name, []).extend([] if value is None else [value])
    return {name: values for name, values in found.items() if len(values) >= resamples * 0.95}


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The middle 95 %; None of no values."""
    if not values:
        return None, None
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
