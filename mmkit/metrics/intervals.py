"""Confidence intervals of metrics over samples, by the bootstrap.

Efron, "Bootstrap Methods: Another Look at the Jackknife", The Annals of Statistics 1979,
https://doi.org/10.1214/aos/1176344552: percentiles of the metric over draws of as many samples, with replacement. They
say what other samples of the same kind would have given for this one model; what another seed would have given they do
not.

Axes: N samples.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.metrics.formulas import Measures

DRAWS = 1000
FEWER = 200
"""Draws from more than `MANY` samples."""
MANY = 20_000
LEVEL = 0.95


class Resampled(Protocol):
    """The metrics of a split."""

    @property
    def samples(self) -> int:
        """The number N of samples with truth."""

    def resampled(self, index: Tensor) -> Measures:
        """Metrics of the samples at [N] places, those that can be computed of them again."""
        ...


def intervals(measured: Resampled) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric that can be computed again; of one that is not defined on some draws none."""
    count = measured.samples
    if count < 2:
        return {}
    generator = Generator().manual_seed(0)
    values: dict[str, list[float | None]] = {}
    for _ in range(DRAWS if count <= MANY else FEWER):
        index = torch.randint(count, (count,), generator=generator)
        for name, measure in measured.resampled(index).items():
            values.setdefault(name, []).append(measure())
    ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    found = {}
    for name, drawn in values.items():
        numbers = [value for value in drawn if value is not None]
        if len(numbers) == len(drawn):
            low, high = np.quantile(numbers, ends)
            found[name] = float(low), float(high)
    return found
