"""Folds: every row is tested once, and validation is cut from the rest by the rules of splits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mmkit.errors import UsageError
from mmkit.sources.folding import folds, sides_of_folds
from mmkit.sources.splitting import groups_of
from mmkit.sources.targets import read_target


def target(values):
    return read_target({"y": pa.chunked_array([pa.array(values)])})


def test_every_row_is_tested_once_and_trains_in_most_other_folds():
    found = sides_of_folds(target(["a", "b"] * 100), 5)
    assert found.shape == (5, 200)
    assert ((found == 2).sum(0) == 1).all()
    assert ((found == 2).sum(1) == 40).all()
    assert ((found == 1).sum(1) == 32).all()  # 15 of the 75 % that are not tested
    assert (found >= 0).all()


def test_each_fold_holds_classes_alike():
    values = np.array(["a"] * 150 + ["b"] * 50)
    for sides in sides_of_folds(target(values.tolist()), 5):
        assert {side: int((values[sides == side] == "b").sum()) for side in (0, 1, 2)} == {0: 32, 1: 8, 2: 10}


def test_groups_stay_together_in_every_fold():
    units = groups_of(pa.chunked_array([pa.array([f"g{row % 23}" for row in range(230)])]))
    for sides in sides_of_folds(target(["a", "b"] * 115), 4, units=units):
        assert all(len(set(sides[units == unit])) == 1 for unit in set(units))


def test_a_class_of_two_rows_only_trains():
    values = ["a", "b"] * 50 + ["rare", "rare"]
    found = sides_of_folds(target(values), 5)
    assert (found[:, -2:] == 0).all()
    assert ((found[:, :-2] == 2).sum(0) == 1).all()


def test_rows_without_truth_are_in_no_fold():
    found = sides_of_folds(target(["a", "b", None] * 40), 3)
    assert (found[:, 2::3] == -1).all()


def test_the_seed_moves_the_folds():
    one, two = (folds(target(["a", "b"] * 40).strata, 4, seed=seed) for seed in (0, 1))
    assert (one != two).any()


def test_more_folds_than_groups_are_refused():
    units = np.arange(60) % 3
    with pytest.raises(UsageError, match="5 folds need as many units that stay together; there are 3"):
        sides_of_folds(target(["a", "b"] * 30), 5, units=units)
