"""Successive halving: how many trainings, and of which length, a time affords. Arithmetic alone, nothing is trained.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
https://arxiv.org/abs/1502.07943: all candidates are trained for a short time, the best of them for a longer one, and so
on.

Four things differ. A training starts anew at each length, since its rate decays along a cosine to zero and cannot just
go on; so each is complete in itself, and may be what is found. The last rung may be shorter than a whole training.
After it come finals: the best settings, each a combination with its rate and its epochs, get more seeds, since one seed
may be lucky. And the ladder is not given but chosen, of those that the time affords, and that have several rungs or
train to the end (one short training would leave the choice to chance): one that takes as many of the candidates as can
be, and of these the one with the greatest product of the epochs of its first rung, the square of those of its last one
and the number of trainings in its finals plus two. A short first rung favours high learning rates and what learns fast,
a short last one stops before what learns late has learnt, and without finals luck decides. That a quarter goes on at
once, and not a half, did best of a few such rules for simulated learners that resemble those of
`benchmarks/budget.py`: it leaves more time for longer trainings.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mmkit.training.optimisation import Training

FACTOR = 4
"""From rung to rung one of so many candidates goes on."""
RUNGS = 3
"""At most."""
FINALISTS = 4
"""Candidates of the last rung, at least, and settings of the finals, at most."""
ROUNDS = ((FINALISTS, 2), (2,), ())
"""How many settings get a second seed and a third, with more time and with less."""
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
        finals: how many of the best settings get one more seed after that, round by round.
    """

    sizes: tuple[int, ...]
    epochs: tuple[int, ...]
    finals: tuple[int, ...] = ()


def lengths(epochs: int) -> list[int]:
    """The numbers of epochs of rungs, from one to a whole training.

    >>> lengths(40), lengths(3)
    ([1, 2, 3, 5, 10, 20, 40], [1, 2, 3])
    """
    found = [epochs]
    while found[0] > 1:
        found.insert(0, math.ceil(found[0] / 2))
    return found


def thinned(count: int, rungs: int, factor: int = FACTOR, least: int = FINALISTS) -> tuple[int, ...]:
    """How many of so many candidates reach each rung; on the last one a few at least, that it has a choice.

    >>> thinned(36, 3), thinned(3, 3), thinned(3, 3, 2, 2), thinned(1, 2)
    ((36, 9, 4), (3, 3, 3), (3, 2, 2), (1, 1))
    """
    sizes = [count]
    while len(sizes) < rungs:
        sizes.append(min(count, max(least, math.ceil(sizes[-1] / factor))))
    return tuple(sizes)


def shapes(epochs: int) -> list[tuple[int, ...]]:
    """The rungs that a ladder can have, by their epochs.

    Args:
        epochs: of a whole training.
    """
    return [at for rungs in range(1, RUNGS + 1) for at in itertools.combinations(lengths(epochs), rungs)]


def cost(prices: Sequence[Price], ladder: Ladder) -> float:
    """The expected seconds of a ladder: of the first rung those of its candidates, of others the mean of them.

    A setting of the finals may be one of the last rung, and is taken for one.

    Args:
        prices: of the candidates; the first ones take part.
        ladder: the rungs.
    """
    taking = prices[: ladder.sizes[0]]
    total = Price(sum(price.start for price in taking), sum(price.epoch for price in taking))
    rungs = [*zip(ladder.sizes, ladder.epochs, strict=True), (sum(ladder.finals), ladder.epochs[-1])]
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
    choosing = [at for at in every if len(at) > 1 or at[-1] == epochs]
    for count, taken in [(count, taken) for taken in (choosing, every) for count in range(len(prices), 1, -1)]:
        found = [with_finals(Ladder(thinned(count, len(at)), at), finals) for at in taken for finals in ROUNDS]
        afforded = [one for one in found if cost(prices, one) + beside(one) <= seconds]
        if afforded:
            return max(afforded, key=_preferred)
    return None


def with_finals(one: Ladder, finals: Sequence[int]) -> Ladder:
    """A ladder with finals, of no more settings than it has tried.

    >>> with_finals(Ladder((3,), (40,)), (4, 2)).finals
    (3, 2)
    """
    tried = sum(one.sizes)
    return one._replace(finals=tuple(min(size, tried) for size in finals))


def _preferred(one: Ladder) -> tuple[int, int, int, int]:
    """The greatest is preferred, of ladders that take as many candidates."""
    finals = sum(one.finals)
    return one.epochs[0] * one.epochs[-1] ** 2 * (2 + finals), one.epochs[-1], finals, -len(one.epochs)


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
