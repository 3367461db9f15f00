"""The finals of a search within a budget: more seeds of its best settings, since one seed may be lucky.

A setting is a combination with its learning rate and its number of epochs; several of one combination may compete, and
a short training with a long one. The best by one seed get a second one, the better half a third, and so on, while there
is time. The best mean of those with the most seeds is chosen. Where log losses are compared, one training that failed
weighs more than several that were a little better. All on validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mmkit.experiments.halving import FINALISTS
from mmkit.model.combination import Combination
from mmkit.records.choice import criterion
from mmkit.records.record import Record
from mmkit.training.optimisation import Training

SEEDS = 5
"""Of one setting, at most."""


@dataclass
class Setting:
    """A combination with the options of its trainings.

    Args:
        combination: that is trained.
        training: as it is trained, with its rate and its epochs.
        records: of its seeds, in order.
    """

    combination: Combination
    training: Training
    records: list[Record]

    @property
    def completed(self) -> bool:
        """Whether all of its trainings were."""
        return all(record.status == "ok" for record in self.records)


def rounds() -> list[int]:
    """How many settings get another seed in each round, if there is time.

    >>> rounds()
    [4, 2, 2, 2]
    """
    sizes = [FINALISTS]
    while len(sizes) < SEEDS - 1:
        sizes.append(max(2, sizes[-1] // 2))
    return sizes


def ranked(settings: Iterable[Setting]) -> list[Setting]:
    """Those that were completed; those with the most seeds first, of these the best mean."""
    good = [one for one in settings if one.completed]
    by = criterion(record for one in good for record in one.records)
    return sorted(good, key=lambda one: (len(one.records), by.score(one.records)), reverse=True)


def play(
    settings: Sequence[Setting],
    sizes: Sequence[int],
    affords: Callable[[Sequence[Setting]], bool],
    train: Callable[[Sequence[Setting], int], Sequence[Record]],
) -> list[Setting]:
    """Give the best settings more seeds, whose records they get.

    Args:
        settings: with a record each.
        sizes: how many take part in each round; fewer, where there is no time for all of them.
        affords: whether there is time for one more training of each.
        train: trains each of several once more, with the seed of an index; gives the records.

    Returns:
        The settings that were completed, the winner first.
    """
    left = ranked(settings)
    for index, size in enumerate(sizes, start=1):
        left = left[:size]
        while len(left) > 1 and not affords(left):
            left.pop()
        if len(left) < 2:
            break
        for one, record in zip(left, train(left, index), strict=True):
            one.records.append(record)
        left = ranked(left)
    return ranked(settings)
