"""Confidence intervals of metrics over samples, by the bootstrap.

Efron, "Bootstrap Methods: Another Look at the Jackknife", The Annals of Statistics 1979,
https://doi.org/10.1214/aos/1176344552: percentiles of the metric over draws of as many samples, with replacement. They
say what other samples of the same kind would have given for this one model; what another seed would have given they do
not. Of samples in groups whole groups are drawn, as many as there are; of several factors each draws its own, and a
sample counts as often as the product says: Owen, "The pigeonhole bootstrap", The Annals of Applied Statistics 2007,
https://doi.org/10.1214/07-AOAS122, which is rather too wide than too narrow.

Axes: N samples, R draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from mmkit.metrics.formulas import Measures

DRAWS = 1000
"""R, where there are few samples."""
FEWER = 200
"""R of many."""
LEVEL = 0.95
FEWEST = 3.0
"""Effective groups, (sum of sizes)^2 / sum of squared sizes, that an interval needs; a verdict needs as many."""
_CELLS = 5_000_000


class Resampled(Protocol):
    """The metrics of a split."""

    @property
    def samples(self) -> int:
        """The number N of samples with truth."""

    def resampled(self, index: Tensor) -> Measures:
        """Metrics of the samples at [N] places, those that can be computed of them again."""
        ...


def intervals(measured: Resampled, groups: Sequence[Sequence[Any]] = ()) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric that can be computed again, is defined on nearly all draws, and differs there.

    Args:
        measured: the metrics.
        groups: of each factor [N] labels; none, and samples are drawn. Of fewer than three groups that count there are
            no intervals.
    """

    def values(index: Tensor) -> dict[str, float | None]:
        return {name: measure() for name, measure in measured.resampled(index).items()}

    found = drawn_anew(measured.samples, draws_of(measured.samples), values, groups)
    return {name: interval(numbers) for name, numbers in found.items()}


def draws_of(cells: int) -> int:
    """R of so many predicted numbers."""
    return int(np.clip(_CELLS // max(1, cells), FEWER, DRAWS))


def drawn_anew(
    count: int,
    draws: int,
    measure: Callable[[Tensor], Mapping[str, float | None]],
    groups: Sequence[Sequence[Any]] = (),
) -> dict[str, list[float]]:
    """Each metric of R draws, but for one that is not defined in more than a twentieth of them, or the same in all.

    That no draw differs does not say that other samples would not.

    Args:
        count: N.
        draws: R.
        measure: the metrics of the samples of a draw, N of them where there are no groups.
        groups: as of `intervals`.
    """
    generator = Generator().manual_seed(0)
    factors = [torch.from_numpy(np.unique(list(map(str, of)), return_inverse=True)[1]) for of in groups]
    few = any(_effective(labels) < FEWEST for labels in factors)
    found: dict[str, list[float]] = {}
    for _ in range(draws if count > 1 and not few else 0):
        index = _drawn(count, factors, generator)
        for name, value in measure(index).items() if len(index) else ():  # crossing factors may draw no sample
            found.setdefault(name, []).extend([] if value is None else [value])
    told = {name: values for name, values in found.items() if len(values) >= draws * 0.95}
    return {name: values for name, values in told.items() if min(values) < max(values)}


def _drawn(count: int, factors: Sequence[Tensor], generator: Generator) -> Tensor:
    """Places of samples, one draw, from numbered groups [N] of each factor."""
    if not factors:
        return torch.randint(count, (count,), generator=generator)
    times = torch.ones(count, dtype=torch.long)
    for labels in factors:
        size = int(labels.max()) + 1
        times *= torch.randint(size, (size,), generator=generator).bincount(minlength=size)[labels]
    return torch.arange(count).repeat_interleave(times)


def _effective(labels: Tensor) -> float:
    """How many groups of one size would say as much."""
    return len(labels) ** 2 / float(labels.bincount().double().square().sum()) if len(labels) else 0.0


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of at least one value."""
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
