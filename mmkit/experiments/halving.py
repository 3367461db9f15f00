"""Successive halving: how many trainings, and of which length, a time affords. Arithmetic alone, nothing is trained.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
https://arxiv.org/abs/1502.07943: all candidates are trained for a short time, the better half for twice that, and so
on.

Three things differ. A training starts anew at each length, since its rate decays along a cosine to zero and cannot just
go on; so each is complete in itself, and may be what is found. The last rung may be shorter than a whole training. And
the ladder is not given but chosen: of those that the time affords, and that have several rungs or train to the end
(one short training would leave the choice to chance), one that takes as many of the candidates as can be,
and of these the one whose first rung times the square of its last one is longest. A short first rung favours high
learning rates and what learns fast, a short last one leaves the choice among the best to chance. The square is what did
best of a few such rules on three splits of clipart (`benchmarks/budget.py`), though not by much.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mmkit.training.optimisation import Training

FACTORS = (2, 3, 4)
"""From rung to rung a half, a third or a quarter of the candidates goes on."""
STEPS = (1, 2)
"""From rung to rung trainings are twice as long, or four times."""
KNOWN = 3
"""Trainings after which what they took corrects what is expected of others."""


class Price(NamedTuple):
    """The seconds of a training: to begin and to end it, and of each of its epochs."""

    start: float
    epoch: float

    def seconds(self, epochs: int) -> float:
        """Of a training of so many epochs."""
        return self.start + epochs * self.epoch


class Ladder(NamedTuple):
    """The rungs of a search.

    Args:
        sizes: how many candidates are trained on each rung, the most first.
        epochs: of their trainings there, the fewest first.
    """

    sizes: tuple[int, ...]
    epochs: tuple[int, ...]


def lengths(epochs: int) -> list[int]:
    """The numbers of epochs of rungs, from one to a whole training.

    >>> lengths(40), lengths(3)
    ([1, 2, 3, 5, 10, 20, 40], [1, 2, 3])
    """
    found = [epochs]
    while found[0] > 1:
        found.insert(0, math.ceil(found[0] / 2))
    return found


def thinned(count: int, rungs: int, factor: int) -> tuple[int, ...]:
    """How many of so many candidates reach each rung; at least two, that the last one has a choice.

    >>> thinned(36, 4, 2), thinned(36, 3, 4), thinned(3, 3, 2), thinned(1, 2, 2)
    ((36, 18, 9, 5), (36, 9, 3), (3, 2, 2), (1, 1))
    """
    sizes = [count]
    while len(sizes) < rungs:
        sizes.append(min(count, max(2, math.ceil(sizes[-1] / factor))))
    return tuple(sizes)


def shapes(epochs: int) -> list[tuple[tuple[int, ...], int]]:
    """The rungs that a ladder can have, by their epochs, and the share that goes on as one of so many.

    Args:
        epochs: of a whole training.
    """
    every = lengths(epochs)
    rungs = dict.fromkeys(
        tuple(every[first : last + 1 : step])
        for step in STEPS
        for last in range(len(every))
        for first in range(last, -1, -step)
    )
    return [(at, factor) for at in rungs for factor in (FACTORS if len(at) > 1 else FACTORS[:1])]


def cost(prices: Sequence[Price], ladder: Ladder) -> float:
    """The expected seconds of a ladder: of the first rung those of its candidates, of others the mean of them.

    Args:
        prices: of the candidates; the first ones take part.
        ladder: the rungs.
    """
    taking = prices[: ladder.sizes[0]]
    total = Price(sum(price.start for price in taking), sum(price.epoch for price in taking))
    rungs = zip(ladder.sizes, ladder.epochs, strict=True)
    return sum(size / len(taking) * total.seconds(epochs) for size, epochs in rungs)


def ladder(
    prices: Sequence[Price], epochs: int, seconds: float, beside: Callable[[Ladder], float] = lambda _: 0.0
) -> Ladder | None:
    """The rungs that a time affords; None where not even two candidates can be trained for one epoch.

    Args:
        prices: of the candidates, two or more, in the order in which they go without if there is no time for all: the
            last ones first.
        epochs: of a whole training.
        seconds: that there are.
        beside: the expected seconds of what is done beside the search, by its rungs.
    """
    every = shapes(epochs)
    choosing = [(at, factor) for at, factor in every if len(at) > 1 or at[-1] == epochs]
    for count, taken in [(count, taken) for taken in (choosing, every) for count in range(len(prices), 1, -1)]:
        found = [(Ladder(thinned(count, len(at), factor), at), factor) for at, factor in taken]
        afforded = [(one, factor) for one, factor in found if cost(prices, one) + beside(one) <= seconds]
        if afforded:
            return max(afforded, key=lambda each: _preferred(each[0], each[1]))[0]
    return None


def _preferred(one: Ladder, factor: int) -> tuple[int, int, int, int]:
    """The greatest is preferred, of ladders that take as many candidates."""
    return one.epochs[0] * one.epochs[-1] ** 2, one.epochs[-1], -factor, -len(one.epochs)


def shortened(training: Training, epochs: int, whole: int) -> Training:
    """The options of a training of fewer epochs; encoders are tuned for as much less.

    Args:
        training: of a whole one.
        epochs: that it gets.
        whole: that a whole one has.
    """
    if epochs == whole:
        return training
    tuned = math.ceil(training.tuning(divisible=True).epochs * epochs / whole)
    return replace(training, epochs=epochs, min_steps=0, tune_epochs=tuned)


@dataclass
class Ledger:
    """The time of a search: what was there, is spent and is set aside.

    What trainings took corrects what is expected of others, by the median of their ratios.

    Args:
        budget: seconds that there are.
        spent: seconds that are gone.
        reserved: seconds expected of what is done after the search, or beside it.
    """

    budget: float
    spent: float = 0.0
    reserved: float = 0.0
    _ratios: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The seconds that an expected second takes."""
        return statistics.median(self._ratios) if len(self._ratios) >= KNOWN else 1.0

    @property
    def left(self) -> float:
        """The expected seconds that a search may still take; negative where the time that is set aside is touched."""
        return (self.budget - self.spent) / self.ratio - self.reserved

    def affords(self, expected: float) -> bool:
        """Whether there is time for a training."""
        return expected <= self.left

    def paid(self, expected: float, took: float) -> None:
        """Note what a training took."""
        self.spent += took
        if expected > 0:
            self._ratios.append(took / expected)
