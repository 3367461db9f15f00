"""A loader that prefetches one item alone: what is large is in memory twice, never more."""

import pytest

from mmkit.data.loader import Loader


def test_one_item_is_made_ahead_and_an_error_has_its_turn():
    made = []

    def make(number):
        made.append(number)
        if number == 5:
            raise ValueError("five")
        return number

    taken = []

    def take(load):
        for item in load(make, 100):
            taken.append(item)
            assert max(made) <= item + 1

    with Loader(workers=1, ahead=1) as loader, pytest.raises(ValueError, match="five"):
        take(loader)
    assert taken == [0, 1, 2, 3, 4]
    assert max(made) <= 6
