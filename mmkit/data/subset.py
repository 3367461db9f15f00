"""Subsets of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from mmkit.contract import Samples
from mmkit.data.columns import Column
from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing


def select(samples: Samples, index: Sequence[int]) -> Samples:
    """The samples with the given indices."""
    return Samples(
        _picked(samples.ids, index),
        {name: _chosen(column, index) for name, column in samples.inputs.items()},
        _picked(samples.truth, index),
        _groups(samples, index),
    )


def _groups(samples: Samples, index: Sequence[int]) -> Sequence[Any] | Mapping[str, Sequence[Any]] | None:
    if isinstance(samples.groups, Mapping):
        return {name: _picked(labels, index) for name, labels in samples.groups.items()}
    return None if samples.groups is None else _picked(samples.groups, index)


def _picked(column: Sequence[Any], index: Sequence[int]) -> Sequence[Any]:
    """The values at the given positions; of a lazy column none is read for it."""
    lazily = getattr(column, "subset", None)
    return [column[i] for i in index] if lazily is None else lazily(index)


def _chosen(column: Sequence[Any], index: Sequence[int]) -> Sequence[Any]:
    """The same of an input, whose values are decoded or raw."""
    if isinstance(column, Column):
        return column.take(index)
    picked = _picked(column, index)
    return Column(picked) if isinstance(picked, list) else picked


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
            if len(firsts) >= count:
                break  # no more are taken
    with_input = map(_first_there, samples.inputs.values())
    most = min(count, len(samples))
    chosen: dict[int, None] = {}
    for i in chain(with_input, firsts.values(), range(len(samples))):
        if len(chosen) == most:
            break
        chosen[i] = None
    return select(samples, sorted(chosen))


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
    """The samples that have truth; all of them are the samples themselves.

    >>> with_truth(Samples(["a", "b", "c"], {"title": ["x", "y", "z"]}, [0, None, 1])).ids
    ['a', 'c']
    """
    gaps = getattr(samples.truth, "gaps", None)  # of a lazy column, which is not read for it
    if gaps is not None:
        known = np.flatnonzero(~gaps()).tolist()
    else:
        known = [i for i, truth in enumerate(samples.truth) if truth is not None]
    return samples if len(known) == len(samples) else select(samples, known)


def joined(one: Samples, other: Samples) -> Samples:
    """The samples of two splits with the same inputs, one after the other; without groups.

    What is read lazily stays so, where both are of one table.

    >>> joined(Samples(["a"], {"title": ["x"]}, [0]), Samples(["b"], {"title": ["y"]}, [1])).ids
    ['a', 'b']
    """
    inputs = {name: Column.of(column).joined(other.inputs[name]) for name, column in one.inputs.items()}
    return Samples(_behind(one.ids, other.ids), inputs, _behind(one.truth, other.truth))


def _behind(one: Sequence[Any], other: Sequence[Any]) -> Sequence[Any]:
    """The values of both; of lazy columns none is read for it, where they can be joined so."""
    join = getattr(one, "joined", None)
    both = None if join is None else join(other)
    return [*one, *other] if both is None else both
