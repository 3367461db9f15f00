"""Some of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkit.contract import Samples
from mmkit.data.columns import Column
from mmkit.modalities.arrays import is_missing


def select(samples: Samples, index: Sequence[int]) -> Samples:
    """Those samples."""

    def pick(column: Sequence[Any]) -> list[Any]:
        return [column[i] for i in index]

    return Samples(
        pick(samples.ids),
        {name: Column(column[i] for i in index) for name, column in samples.inputs.items()},
        pick(samples.truth),
        None if samples.groups is None else pick(samples.groups),
    )


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples."""
    return select(samples, range(min(count, len(samples))))


def small_subset(samples: Samples, count: int) -> Samples:
    """Some of the samples, in order: the first of each class and with each input, lest one is lost, then the rest.

    Args:
        samples: in no order of class.
        count: how many, at most.
    """
    firsts: dict[str, int] = {}
    for i, truth in enumerate(samples.truth):
        plain = truth.item() if getattr(truth, "ndim", None) == 0 else truth
        if isinstance(plain, str | int):
            firsts.setdefault(str(plain), i)
    shown = (
        next((i for i, value in enumerate(column) if not is_missing(value)), 0) for column in samples.inputs.values()
    )
    wanted = dict.fromkeys([*shown, *firsts.values(), *range(len(samples))])
    return select(samples, sorted(list(wanted)[:count]))


def with_truth(samples: Samples) -> Samples:
    """Those samples that have truth."""
    return select(samples, [i for i, truth in enumerate(samples.truth) if truth is not None])
