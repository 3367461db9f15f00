"""Subsets of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkit.contract import Samples
from mmkit.data.columns import Column
from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing


def select(samples: Samples, index: Sequence[int]) -> Samples:
    """The samples with the given indices."""

    def pick(column: Sequence[Any]) -> list[Any]:
        return [column[i] for i in index]

    return Samples(
        pick(samples.ids),
        {name: _chosen(column, index) for name, column in samples.inputs.items()},
        pick(samples.truth),
        None if samples.groups is None else pick(samples.groups),
    )


def _chosen(column: Sequence[Any], index: Sequence[int]) -> Sequence[Any]:
    """The values at the given positions; of a lazy column none is read for it."""
    lazily = getattr(column, "subset", None)
    return Column(column[i] for i in index) if lazily is None else lazily(index)


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples.

    >>> first(Samples(["a", "b", "c"], {"title": ["x", None, "z"]}, [0, 1, 0]), 2).ids
    ['a', 'b']
    """
    return select(samples, range(min(count, len(samples))))


def small_subset(samples: Samples, count: int) -> Samples:
    """A small subset: one sample of each class and with each input, as far as `count` allows, then the first ones.

    Args:
        samples: in random order of classes.
        count: the greatest number of samples.

    >>> small_subset(Samples(list("abcd"), {"title": list("wxyz")}, ["cat", "cat", "cat", "dog"]), 2).truth
    ['cat', 'dog']
    """
    firsts: dict[str, int] = {}
    for i, truth in enumerate(samples.truth):
        plain = truth.item() if getattr(truth, "ndim", None) == 0 else truth
        if isinstance(plain, str | int):
            firsts.setdefault(str(plain), i)
    with_input = map(_first_there, samples.inputs.values())
    by_priority = dict.fromkeys([*with_input, *firsts.values(), *range(len(samples))])
    return select(samples, sorted(list(by_priority)[:count]))


def _first_there(column: Sequence[Any]) -> int:
    """The first sample that has the input; of a lazy column one whose value may be read."""
    for i in range(len(column)):
        try:
            if not is_missing(column[i]):
                return i
        except DataError:
            continue
    return 0


def with_truth(samples: Samples) -> Samples:
    """The samples that have truth.

    >>> with_truth(Samples(["a", "b", "c"], {"title": ["x", "y", "z"]}, [0, None, 1])).ids
    ['a', 'c']
    """
    return select(samples, [i for i, truth in enumerate(samples.truth) if truth is not None])


def joined(one: Samples, other: Samples) -> Samples:
    """The samples of two splits with the same inputs, one after the other; without groups.

    >>> joined(Samples(["a"], {"title": ["x"]}, [0]), Samples(["b"], {"title": ["y"]}, [1])).ids
    ['a', 'b']
    """
    inputs = {name: Column([*column, *other.inputs[name]]) for name, column in one.inputs.items()}
    return Samples([*one.ids, *other.ids], inputs, [*one.truth, *other.truth])
