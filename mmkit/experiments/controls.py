"""Controls: what the answers of a trained model hang on, input by input, by the metric that ranks combinations.

Nothing is trained or chosen here. The test split is measured again with an input missing in every sample, and with the
values of other samples in a share of them: noise that any modality can have, and at a share of 1 the question whether
the input is used at all. The contribution of an input is its Shapley value: what it adds to the inputs that are there,
averaged over all orders in which inputs can come. The contributions of all add up to what the model reaches beyond its
answers without any input.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Generator

from mmkit.data.dataset import Dataset
from mmkit.data.displaced import displaced, without
from mmkit.explain.shapley import Kept, shapley
from mmkit.records.controls import Contribution, Controls, Noise, Subset

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""The shares of samples that get another sample's value."""
ORDERS = 24
"""The number of orders that are drawn where there are more than `EXACT` inputs, each beside its reverse."""

Score = Callable[[Dataset], float | None]
"""The metric that ranks combinations on a split; None where it is not defined."""


def controls(score: Score, data: Dataset, reached: float | None) -> Controls:
    """The controls of a trained model.

    Args:
        score: of the model.
        data: the test split.
        reached: its score with all inputs as they are.
    """
    names = tuple(data.inputs)
    subsets = _Subsets(score, data, {frozenset(names): reached})
    for name in names:
        subsets.score(set(names) - {name})
    contributions = _contributions(subsets, names)
    return Controls(
        [Subset(sorted(present, key=names.index), found) for present, found in subsets.in_order(names)],
        [Noise(name, list(SHARES), [score(_noisy(data, name, share)) for share in SHARES]) for name in names],
        contributions,
    )


@dataclass
class _Subsets:
    """The scores with some inputs there and the others missing, each measured once."""

    of: Score
    data: Dataset
    known: dict[frozenset[str], float | None] = field(default_factory=dict)

    def score(self, present: Iterable[str]) -> float | None:
        present = frozenset(present)
        if present not in self.known:
            self.known[present] = self.of(without(self.data, self.data.inputs.keys() - present))
        return self.known[present]

    def in_order(self, names: tuple[str, ...]) -> list[tuple[frozenset[str], float | None]]:
        """The fewest inputs first."""
        return sorted(self.known.items(), key=lambda one: (len(one[0]), sorted(map(names.index, one[0]))))


def _contributions(subsets: _Subsets, names: tuple[str, ...]) -> list[Contribution]:
    """The Shapley value of each input; none where a score is not defined."""

    def worth(kept: Kept) -> list[float]:
        scores = [subsets.score(itertools.compress(names, one)) for one in kept.tolist()]
        return [math.nan if score is None else score for score in scores]

    found = shapley(len(names), worth, pairs=ORDERS // 2)
    if any(map(math.isnan, found.values)):
        return []
    return list(map(Contribution, names, found.values, found.errors or [0.0] * len(names)))


def _noisy(data: Dataset, name: str, share: float) -> Dataset:
    return displaced(data, name, share, Generator().manual_seed(0))
