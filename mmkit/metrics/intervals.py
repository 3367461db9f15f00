"""Confidence intervals of metrics over samples, by the bootstrap.

Efron, "Bootstrap Methods: Another Look at the Jackknife", The Annals of Statistics 1979,
https://doi.org/10.1214/aos/1176344552: percentiles of the metric over draws of as many samples, with replacement. They
say what other samples of the same kind would have given for this one model; what another seed would have given they do
not.

Axes: N samples, R draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.metrics.formulas import Measures

DRAWS = 1000
"""R, where there are few samples."""
FEWER = 200
"""R of many."""
LEVEL = 0.95
_CELLS = 5_000_000


class Resampled(Protocol):
    """The metrics of a split."""

    @property
    def samples(self) -> int:
        """The number N of samples with truth."""

    def resampled(self, index: Tensor) -> Measures:
        """Metrics of the samples at [N] places, those that can be computed of them again."""
        ...


def intervals(measured: Resampled) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric that can be computed again, and is defined on nearly all draws."""

    def values(index: Tensor) -> dict[str, float | None]:
        return {name: measure() for name, measure in measured.resampled(index).items()}

    found = drawn_anew(measured.samples, draws_of(measured.samples), values)
    return {name: interval(numbers) for name, numbers in found.items()}


def draws_of(cells: int) -> int:
    """R of so many predicted numbers."""
    return int(np.clip(_CELLS // max(1, cells), FEWER, DRAWS))


def drawn_anew(
    count: int, draws: int, measure: Callable[[Tensor], Mapping[str, float | None]]
) -> dict[str, list[float]]:
    """Each metric of R draws; one that is not defined in more than a twentieth of them is left out.

    Args:
        count: N.
        draws: R.
        measure: the metrics of the samples [N] of a draw.
    """
    generator = Generator().manual_seed(0)
    found: dict[str, list[float]] = {}
    for _ in range(draws if count > 1 else 0):
        for name, value in measure(torch.randint(count, (count,), generator=generator)).items():
            found.setdefault(name, []).extend([] if value is None else [value])
    return {name: values for name, values in found.items() if len(values) >= draws * 0.95}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of at least one value."""
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
