"""The area under the ROC curve of many columns, as batches come.

Up to `CELLS` predictions it is exact, for which all of them are kept; beyond, they are counted in `BINS` bins, and two
in one bin are a tie.

Axes: B samples of a batch, N samples, C columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.metrics.influence import of_area

CELLS = 50_000_000
"""The greatest number of predictions, N x C, that are kept: 200 MB."""
BINS = 10_000
_LOWEST, _HIGHEST = -40.0, 17.0
"""Logits of the probabilities of the outer bins. Of many classes most are near 0, and float32 ends near 1."""


class Areas:
    """Collects probabilities and truth of C columns.

    >>> areas = Areas(1)
    >>> areas.update(torch.tensor([[0.1], [0.4], [0.8]]), torch.tensor([[False], [True], [True]]))
    >>> areas.mean(), areas.binned
    (1.0, False)
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._cells = 0
        self._counts: Tensor | None = None  # [2 C BINS], of what is false and what is true

    @property
    def binned(self) -> bool:
        """Whether there were so many that they were counted in bins."""
        return self._counts is not None

    def update(self, probabilities: Tensor, truth: Tensor) -> None:
        """Add a batch: probabilities [B C], and truth, bool [B C], or [B] of the one column that is true."""
        self._cells += probabilities.numel()
        self._kept.append((probabilities.float(), truth))
        if self._cells > CELLS:
            for kept in self._kept:
                self._count(*kept)
            self._kept = []

    def mean(self) -> float | None:
        """The mean area over the columns whose truth has both values; None if none has."""
        areas = self._exact() if self._counts is None else _from_bins(self._counts)
        return sum(areas) / len(areas) if areas else None

    def drawn(self, index: Tensor) -> float | None:
        """The mean area of the samples at some places, which may repeat.

        None where a column has one value there alone and both among all samples, and where samples were not kept.
        """
        if self.binned or not self._kept:
            return None
        probabilities, truth = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        if not self._both(truth[index]).equal(self._both(truth)):
            return None
        areas = self._areas(probabilities[index], truth[index])
        return sum(areas) / len(areas) if areas else None

    def influence(self) -> Tensor | None:
        """[N] of each sample on the mean area; None where they were counted in bins, which know no sample."""
        if self.binned or not self._kept:
            return None
        probabilities, truth = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        return of_area(probabilities, truth)

    def _exact(self) -> list[float]:
        if not self._kept:
            return []
        probabilities, truth = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        return self._areas(probabilities, truth)

    def _both(self, truth: Tensor) -> Tensor:
        """[C]: whether both values occur in the truth of a column."""
        yes = truth.bincount(minlength=self.columns) if truth.ndim == 1 else truth.sum(0)
        return (yes > 0) & (yes < len(truth))

    def _areas(self, probabilities: Tensor, truth: Tensor) -> list[float]:
        areas = []
        for column in range(self.columns):
            yes = truth == column if truth.ndim == 1 else truth[:, column]
            if bool(yes.any()) and not bool(yes.all()):
                areas.append(_area(probabilities[yes, column], probabilities[~yes, column]))
        return areas

    def _count(self, probabilities: Tensor, truth: Tensor) -> None:
        if self._counts is None:
            self._counts = torch.zeros(2, self.columns, BINS, dtype=torch.int64)
        share = (probabilities.double().logit().clamp(_LOWEST, _HIGHEST) - _LOWEST) / (_HIGHEST - _LOWEST)
        place = (share.nan_to_num() * BINS).long().clamp_(max=BINS - 1)  # [B C]
        place += torch.arange(self.columns) * BINS
        if truth.ndim == 1:
            yes = torch.zeros(probabilities.shape, dtype=torch.bool)
            yes[torch.arange(len(truth)), truth] = True
        else:
            yes = truth
        place += yes * (self.columns * BINS)
        self._counts.view(-1).scatter_add_(0, place.flatten(), torch.ones_like(place).flatten())


def _area(true: Tensor, false: Tensor) -> float:
    """The share of pairs in which the true one [P] is more probable than the false one [Q]; a tie counts half."""
    false = false.sort().values
    below, not_above = (torch.searchsorted(false, true.contiguous(), right=right) for right in (False, True))
    return float((below + not_above).double().mean() / (2 * len(false)))


def _from_bins(counts: Tensor) -> list[float]:
    false, true = counts.double()  # [C BINS]
    below = false.cumsum(1) - false
    pairs = true.sum(1) * false.sum(1)  # [C]
    won = (true * (below + false / 2)).sum(1)
    areas: list[float] = (won[pairs > 0] / pairs[pairs > 0]).tolist()
    return areas
