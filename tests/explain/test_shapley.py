"""Shapley values against the mean over all orders, written out, and their axioms."""

import itertools
import random

import numpy as np
import pytest

from mmkit.explain.shapley import exact, sampled, shapley, weighed


def game(players, seed=0):
    """A worth for each subset, drawn at random."""
    generator = random.Random(seed)
    table = {subset: generator.gauss(0, 1) for subset in itertools.product((False, True), repeat=players)}
    return table, lambda kept: [table[tuple(map(bool, row))] for row in kept]


def by_orders(players, table):
    """The mean of what each adds over all orders: the definition."""
    values = np.zeros(players)
    orders = list(itertools.permutations(range(players)))
    for order in orders:
        here = [False] * players
        for player in order:
            before = table[tuple(here)]
            here[player] = True
            values[player] += table[tuple(here)] - before
    return values / len(orders)


@pytest.mark.parametrize("players", [1, 2, 3, 4, 5])
def test_they_are_means_over_all_orders(players):
    table, worth = game(players)
    shares = shapley(players, worth)
    assert shares.errors is None
    assert shares.subsets == 2**players
    np.testing.assert_allclose(shares.values, by_orders(players, table), atol=1e-12)
    assert sum(shares.values) == pytest.approx(shares.everything - shares.nothing)


@pytest.mark.parametrize("players", [2, 6])
def test_who_adds_nothing_gets_nothing_and_who_adds_the_same_gets_the_same(players):
    shares = shapley(players, lambda kept: [float(row[1:].sum() ** 2) for row in kept])
    assert shares.values[0] == 0
    np.testing.assert_allclose(shares.values[1:], (players - 1), atol=1.5 if shares.errors else 1e-12)


def test_orders_that_are_drawn_come_as_close_as_their_errors_say():
    """Over 60 games of six, the distance in standard errors has mean square one, as that of a mean has."""
    far = []
    for seed in range(60):
        table, worth = game(6, seed)
        shares = sampled(6, worth, pairs=64, seed=seed)
        assert sum(shares.values) == pytest.approx(shares.everything - shares.nothing)  # in each order, so in the mean
        far += list((np.array(shares.values) - by_orders(6, table)) / np.array(shares.errors))
    assert 0.8 < np.mean(np.square(far)) < 1.25


def test_the_same_seed_draws_the_same():
    _, worth = game(7)
    assert shapley(7, worth) == shapley(7, worth)
    assert shapley(7, worth) != shapley(7, worth, seed=1)


@pytest.mark.parametrize("players", [1, 3, 5])
def test_subsets_of_the_others_with_their_weights_give_the_value(players):
    _, worth = game(players)
    for player in range(players):
        kept, weights = weighed(players, player)
        assert not kept[:, player].any()
        assert sum(weights) == pytest.approx(1)
        joined = kept.copy()
        joined[:, player] = True
        value = np.dot(weights, np.array(worth(joined)) - np.array(worth(kept)))
        assert value == pytest.approx(exact(players, worth).values[player])


def test_of_many_players_some_subsets_are_drawn():
    kept, weights = weighed(9, 4)
    assert kept.shape == (16, 9)
    assert not kept[:, 4].any()
    assert kept.any(0).sum() == 8
    assert sum(weights) == pytest.approx(1)
    assert (kept[::2] ^ kept[1::2]).sum(1).tolist() == [8] * 8  # of an order and its reverse, each other stands in one
