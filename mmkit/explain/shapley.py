"""Shapley values: how much each of M players gives to what all of them reach.

Shapley, "A Value for n-Person Games", Contributions to the Theory of Games II, 1953,
https://doi.org/10.1515/9781400881970-018: the mean of what a player adds over all orders in which players may come. By
permutations: Castro, Gomez and Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers &
Operations Research 2009, https://doi.org/10.1016/j.cor.2008.04.004; each with its reverse, as in Mitchell, Cooper,
Frank and Holmes, "Sampling Permutations for Shapley Value Estimation", JMLR 2022, https://arxiv.org/abs/2104.12199.

Axes: M players, S subsets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Kept = np.ndarray[Any, np.dtype[np.bool_]]
"""[S M]: which players are in each subset."""
Worth = Callable[[Kept], Sequence[float]]
"""What each of S subsets reaches."""

EXACT = 5
"""Players up to which all subsets are looked at."""


class Shares(NamedTuple):
    """What each player gives.

    Args:
        values: [M].
        errors: [M], the standard error of each; None where the values are exact.
        nothing: what no player at all reaches.
        everything: what all of them reach; the sum of the values is the difference.
        subsets: how many were looked at.
        permutations: how many were drawn; 0 where the values are exact.
    """

    values: list[float]
    errors: list[float] | None
    nothing: float
    everything: float
    subsets: int
    permutations: int


def shapley(players: int, worth: Worth, *, pairs: int = 128, seed: int = 0) -> Shares:
    """The Shapley values of M players: exact up to `EXACT`, else from permutations.

    Args:
        players: M.
        worth: what subsets reach.
        pairs: of a permutation and its reverse, that are drawn where there are more players; at least 2.
        seed: of the permutations.
    """
    return exact(players, worth) if players <= EXACT else sampled(players, worth, pairs=pairs, seed=seed)


def weighed(players: int, player: int, *, pairs: int = 8, seed: int = 0) -> tuple[Kept, list[float]]:
    """Subsets of the other players, and how much each counts in the Shapley value of one: all, or some at random.

    Args:
        players: M, the one included.
        player: the place of the one; it is in no subset.
        pairs: of orders that are drawn where there are more than `EXACT`; of each, those who come before count.
        seed: of the orders.
    """
    others = [place for place in range(players) if place != player]
    if players <= EXACT:
        choices = [list(one) for one in itertools.product((False, True), repeat=len(others))]
        weights = [
            math.factorial(sum(one)) * math.factorial(players - sum(one) - 1) / math.factorial(players)
            for one in choices
        ]
    else:
        generator = np.random.default_rng(seed)
        drawn = [generator.permutation(players).tolist() for _ in range(pairs)]
        orders = [one for order in drawn for one in (order, order[::-1])]
        choices = [[order.index(place) < order.index(player) for place in others] for order in orders]
        weights = [1 / len(orders)] * len(orders)
    kept = np.zeros((len(choices), players), dtype=bool)
    kept[:, others] = choices
    return kept, weights


def exact(players: int, worth: Worth) -> Shares:
    """By all 2 ** M subsets."""
    kept = np.array(list(itertools.product((False, True), repeat=players)), dtype=bool).reshape(-1, players)
    reached = dict(zip(map(tuple, kept.tolist()), worth(kept), strict=True))
    values = []
    for player in range(players):
        parts = []
        for subset, value in reached.items():
            if not subset[player]:
                size = sum(subset)
                weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
                joined = tuple(one or place == player for place, one in enumerate(subset))
                parts.append(weight * (reached[joined] - value))
        values.append(math.fsum(parts))
    return Shares(values, None, reached[(False,) * players], reached[(True,) * players], len(reached), 0)


def sampled(players: int, worth: Worth, *, pairs: int, seed: int) -> Shares:
    """By permutations in pairs, each with its reverse; the errors are those of the means over pairs."""
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(players) for _ in range(pairs)]
    orders = [one for order in orders for one in (order, order[::-1])]
    prefixes = np.zeros((len(orders), players + 1, players), dtype=bool)
    for order, rows in zip(orders, prefixes, strict=True):
        for place, player in enumerate(order, start=1):
            rows[place:, player] = True
    distinct, where = np.unique(prefixes.reshape(-1, players), axis=0, return_inverse=True)
    reached = np.array(worth(distinct), dtype=np.float64)[where.reshape(prefixes.shape[:2])]  # [2 pairs, M + 1]
    added = np.empty((len(orders), players))
    for row, (order, steps) in enumerate(zip(orders, np.diff(reached, axis=1), strict=True)):
        added[row, order] = steps
    means = added.reshape(pairs, 2, players).mean(1)
    errors = means.std(0, ddof=1) / math.sqrt(pairs)
    nothing, everything = float(reached[0, 0]), float(reached[0, -1])
    return Shares(means.mean(0).tolist(), errors.tolist(), nothing, everything, len(distinct), len(orders))
