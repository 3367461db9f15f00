"""Some of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkit.contract import Samples
from mmkit.data.columns import Column


def select(samples: Samples, index: Sequence[int]) -> Samples:
    """Those samples."""

    def pick(column: Sequence[Any]) -> list[Any]:
        return [column[i] for i in index]

    return Samples(
        pick(samples.ids),
        {name: Column.of(column).take(index) for name, column in samples.inputs.items()},
        pick(samples.truth),
        None if samples.groups is None else pick(samples.groups),
    )


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples.

    >>> first(Samples(["a", "b", "c"], {"title": ["x", None, "z"]}, [0, 1, 0]), 2).ids
    ['a', 'b']
    """
    return select(samples, range(min(count, len(samples))))


def small_subset(samples: Samples, count: int) -> Samples:
    """Some of the samples, in order: the first of each class and with each input, then the rest.

    Args:
        samples: in no order of class.
        count: how many, at most.

    >>> small_subset(Samples(list("abcd"), {"title": list("wxyz")}, ["cat", "cat", "cat", "dog"]), 2).truth
    ['cat', 'dog']
    """
    firsts: dict[str, int] = {}
    for i, truth in enumerate(samples.truth):
        if isinstance(truth, str):
            firsts.setdefault(truth, i)
    shown = (next((i for i, value in enumerate(column) if value is not None), 0) for column in samples.inputs.values())
    wanted = dict.fromkeys([*firsts.values(), *shown, *range(len(samples))])
    return select(samples, sorted(list(wanted)[:count]))


def with_truth(samples: Samples) -> Samples:
    """Those samples that have truth.

    >>> with_truth(Samples(["a", "b", "c"], {"title": ["x", "y", "z"]}, [0, None, 1])).ids
    ['a', 'c']
    """
    return select(samples, [i for i, truth in enumerate(samples.truth) if truth is not None])
