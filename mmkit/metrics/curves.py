"""Areas under the ROC and the precision-recall curve of many columns, as batches come.

Both follow from how often each probability is true and false. The area under the ROC curve is the share of pairs whose
true one is the more probable, a tie counting half. That under the precision-recall curve is the average precision: the
mean, over what is true, of the precision at its probability. Nothing is interpolated between points, which would be too
good (Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006,
https://doi.org/10.1145/1143844.1143874).

Up to `CELLS` predictions they are exact, for which all of them are kept; beyond, they are counted in `BINS` bins, and
two in one bin are a tie.

Axes: B samples of a batch, N samples, C columns, V different probabilities of a column, ascending.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.metrics.formulas import Measures

CELLS = 50_000_000
"""The greatest number of predictions, N x C, that are kept: 200 MB."""
AGAIN = 200_000
"""That up to which areas are computed anew of other samples: some milliseconds for 20,000 samples of ten classes."""
BINS = 10_000
_LOWEST, _HIGHEST = -40.0, 17.0
"""Logits of the probabilities of the outer bins. Of many classes most are near 0, and float32 ends near 1."""


class Areas:
    """Collects probabilities and truth of C columns; each area is the mean over those whose truth has both values.

    >>> areas = Areas(1)
    >>> areas.update(torch.tensor([[0.1], [0.4], [0.8]]), torch.tensor([[False], [True], [True]]))
    >>> areas.measures()["auroc_macro"](), areas.binned
    (1.0, False)
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._cells = 0
        self._counts: Tensor | None = None  # [2 C BINS], of what is false and what is true
        self._together: _Columns | None = None  # those with both values
        self._found: dict[str, list[float | None]] = {}  # [C] of each area

    @property
    def binned(self) -> bool:
        """Whether there were so many that they were counted in bins."""
        return self._counts is not None

    def update(self, probabilities: Tensor, truth: Tensor) -> None:
        """Add a batch: probabilities [B C], and truth, bool [B C], or [B] of the one column that is true."""
        self._cells += probabilities.numel()
        self._kept.append((probabilities.float(), truth))
        self._together, self._found = None, {}
        if self._cells > CELLS:
            for kept in self._kept:
                self._count(*kept)
            self._kept = []

    def measures(self) -> Measures:
        """Each area, computed when called; None if no column has both values."""
        return {name: partial(self._mean, name) for name in AREAS}

    def of_columns(self, name: str) -> list[float | None]:
        """[C]: the area of each column, None if it has one value alone."""
        if not self._found:
            for counts in self._columns_counted():
                for area, (value, _) in AREAS.items():
                    self._found.setdefault(area, []).append(float(value(*counts)) if bool(_both(counts)) else None)
        return self._found.get(name, [])

    def resampled(self, index: Tensor) -> Measures:
        """Each area of the samples at some places, which may repeat; none of more than `AGAIN` predictions.

        It is None where a column has one value there alone and both among all samples.
        """
        if self._cells > AGAIN:
            return {}
        if self._together is None:
            columns = [column for column in self._columns() if bool(_both(column.counts()))]
            self._together = _Columns.of(columns, sum(len(truth) for _, truth in self._kept))
        counts = cache(partial(self._together.counts, index))
        return {name: partial(_mean_of, area, counts) for name, (area, _) in AREAS.items()}

    def influences(self) -> dict[str, Callable[[], Tensor | None]]:
        """[N] of each sample on each area; None where they were counted in bins, which know no sample."""
        return {name: partial(self._influence, influence) for name, (_, influence) in AREAS.items()}

    def _mean(self, name: str) -> float | None:
        areas = [area for area in self.of_columns(name) if area is not None]
        return sum(areas) / len(areas) if areas else None

    def _influence(self, influence: Area) -> Tensor | None:
        each = []
        for column in self._columns():
            counts = column.counts()
            if bool(_both(counts)):
                of_false, of_true = influence(*counts)
                each.append(torch.where(column.yes, of_true[column.place], of_false[column.place]))
        return sum(each, torch.zeros(())) / len(each) if each else None

    def _columns_counted(self) -> Iterator[Tensor]:
        """[2 V] of each column, or [2 BINS]."""
        if self._counts is not None:
            yield from self._counts.double().unbind(1)
        else:
            yield from (column.counts() for column in self._columns())

    def _columns(self) -> Iterator[_Column]:
        if not self._kept:
            return
        values, truth = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        for number in range(self.columns):
            different, place = values[:, number].unique(return_inverse=True)
            yield _Column(place, truth == number if truth.ndim == 1 else truth[:, number], len(different))

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


class _Column(NamedTuple):
    """One column: of each sample [N] which of the V probabilities it has, and whether it is true."""

    place: Tensor
    yes: Tensor
    different: int

    def counts(self) -> Tensor:
        """[2 V]: how often each probability is false, and true."""
        return (self.place + self.yes * self.different).bincount(minlength=2 * self.different).view(2, -1).double()


class _Columns(NamedTuple):
    """Several columns: of each sample where it counts [N C], among `shape`, C 2 V; V is the greatest of all."""

    place: Tensor
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, columns: Sequence[_Column], samples: int) -> _Columns:
        shape = (len(columns), 2, max((column.different for column in columns), default=0))
        each = [(2 * c + column.yes) * shape[2] + column.place for c, column in enumerate(columns)]
        return cls(torch.stack(each, 1) if each else torch.zeros(samples, 0, dtype=torch.long), shape)

    def counts(self, index: Tensor) -> Tensor:
        """[C 2 V] of the samples at some places: how often each probability is false, and true."""
        found = self.place[index].flatten().bincount(minlength=math.prod(self.shape))
        return found.view(self.shape).double()


Area = Callable[[Tensor, Tensor], Tensor]
"""Of how often each probability is false [... V] and true [... V], both of them somewhere, an area, or influences
[2 ... V] on it."""


def _both(counts: Tensor) -> Tensor:
    """[...]: whether both values occur, of counts [... 2 V]."""
    return (counts.sum(-1) > 0).all(-1)


def _mean_of(area: Area, counted: Callable[[], Tensor]) -> float | None:
    counts = counted()
    return float(area(counts[:, 0], counts[:, 1]).mean()) if len(counts) and bool(_both(counts).all()) else None


def _roc(false: Tensor, true: Tensor) -> Tensor:
    return (true * _below(false)).sum(-1) / true.sum(-1)


def _of_roc(false: Tensor, true: Tensor) -> Tensor:
    """The structural components of DeLong et al., Biometrics 44(3), 1988: the share of the others that it is above."""
    won, lost = _below(false), 1 - _below(true)
    area = _roc(false, true).unsqueeze(-1)
    rest_of_false, rest_of_true = (_total(counts).sub(1).clamp(min=1) for counts in (false, true))
    return torch.stack(((lost - area) / rest_of_false, (won - area) / rest_of_true)) * (_total(false) + _total(true))


def _below(counts: Tensor) -> Tensor:
    """[... V]: the share of samples that are less probable, those that are equal counting half."""
    return (counts.cumsum(-1) - counts / 2) / _total(counts)


def _precision(false: Tensor, true: Tensor) -> Tensor:
    return (true * _precisions(false, true)[0]).sum(-1) / true.sum(-1)


def _of_precision(false: Tensor, true: Tensor) -> Tensor:
    """A sample raises, at each lower probability, how many are said to be true, and if it is true how many are."""
    precision, said = _precisions(false, true)
    found = (true / said).cumsum(-1)
    cost = (true * precision / said).cumsum(-1)
    of_true = precision - _precision(false, true).unsqueeze(-1) + found - cost
    return torch.stack((-cost, of_true)) * (_total(false) + _total(true)) / _total(true).sub(1).clamp(min=1)


def _precisions(false: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """[... V]: the precision where all from a probability on are said to be true, and how many they are, at least 1."""
    found, said = (counts.flip(-1).cumsum(-1).flip(-1) for counts in (true, true + false))
    said = said.clamp(min=1)
    return found / said, said


def _total(counts: Tensor) -> Tensor:
    return counts.sum(-1, keepdim=True)


AREAS: dict[str, tuple[Area, Area]] = {
    "auroc_macro": (_roc, _of_roc),
    "average_precision_macro": (_precision, _of_precision),
}
"""By name: the area, and the influences on it of a sample that is false [V], and true [V], at each probability."""
