"""Rows without a text go to all splits: that their few other values are equal makes them no copies."""

import numpy as np
import pytest

import mmkit
from mmkit.sources.duplicates import duplicates

WORDS = [
    "red",
    "blue",
    "green",
    "round",
    "small",
    "big",
    "sweet",
    "sour",
    "fresh",
    "old",
    "new",
    "soft",
    "hard",
    "dry",
    "wet",
]


def posts(rows, missing, blank=None, seed=0):
    generator = np.random.default_rng(seed)
    gone = generator.random(rows) < missing
    texts = [blank if one else " ".join(generator.choice(WORDS, 8)) for one in gone]
    return {
        "note": texts,
        "colour": [f"c{i}" for i in generator.integers(0, 5, rows)],
        "label": [["a", "b"][i] for i in generator.integers(0, 2, rows)],
    }, gone


@pytest.mark.parametrize("blank", [None, ""])
@pytest.mark.parametrize("missing", [0.05, 0.3])
def test_each_split_has_its_share(missing, blank):
    data, gone = posts(1000, missing, blank)
    found = mmkit.inspect(data, target="label")
    for side in range(3):
        rows = found.sides == side
        # Within four standard deviations of a draw of as many rows.
        spread = (missing * (1 - missing) / rows.sum()) ** 0.5
        assert abs(gone[rows].mean() - gone.mean()) < 4 * spread


def test_the_others_are_copies_as_before():
    data, gone = posts(1000, 0.05)
    there = np.flatnonzero(~gone[:-1] & ~gone[1:])
    one, other = there[2], there[-3]
    for row in (one, other):
        data["note"][row + 1], data["colour"][row + 1] = data["note"][row], data["colour"][row]
    source = mmkit.inspect(data, target="label").source.columns
    columns = {name: source[name] for name in ("note", "colour")}
    first = duplicates(columns, {"note": "text", "colour": "category"})
    assert (first[one + 1], first[other + 1]) == (one, other)
    assert (first == np.arange(1000)).sum() == 998


def test_a_few_equal_rows_with_gaps_are_copies():
    """Of a handful with the same gaps nothing can be said: equal ones stay together."""
    data, gone = posts(300, 0.0)
    for row in (10, 20, 30):
        data["note"][row], data["colour"][row] = None, "rare"
    source = mmkit.inspect(data, target="label").source.columns
    first = duplicates({name: source[name] for name in ("note", "colour")}, {"note": "text", "colour": "category"})
    assert first[[10, 20, 30]].tolist() == [10, 10, 10]
    assert not gone.any()
