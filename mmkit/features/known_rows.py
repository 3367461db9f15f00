"""Rows of a table that a frozen encoder has encoded before, in another split of it: of another fold, seed or a refit.

A row is known by the table that it is of and its number there, so that no value is read to find it. Features are those
that the split would have alone, bit for bit, so they are taken only of batches of one shape: those of `batch_size`
samples, where every sample has as many tokens. Whether a row's features then hang on its mates is not assumed: a batch
is encoded and compared first, and if a bit differs nothing is taken.

Axes: N samples of a split, B of a batch, T tokens of a sample, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmkit.data.packed import Packed
from mmkit.features.pieces import Part

Rows = np.ndarray[Any, np.dtype[np.int64]]


class Encoded(NamedTuple):
    """The features of a split.

    Args:
        packed: of its samples.
        rows: [N] their numbers in the table.
    """

    packed: Packed
    rows: Rows


class KnownRows:
    """What is known of the rows of a split.

    Args:
        rows: [N] their numbers in the table.
        encoded: features of other splits of it.
        batch_size: B.
    """

    def __init__(self, rows: Rows, encoded: Iterable[Encoded], batch_size: int) -> None:
        self._size = batch_size
        self._full = len(rows) // batch_size * batch_size
        fixed = [one for one in encoded if one.packed.length is not None]
        self._steps = fixed[0].packed.length if fixed else None  # T
        self._of = [one for one in fixed if one.packed.length == self._steps]
        self._entry = np.full(len(rows), -1, np.int64)  # [N]: in which of them, and where
        self._place = np.zeros(len(rows), np.int64)
        for number, one in enumerate(self._of):
            whole = one.rows[: len(one.rows) // batch_size * batch_size]
            if not len(whole):
                continue
            order = np.argsort(whole, kind="stable")
            found = np.searchsorted(whole, rows, sorter=order).clip(max=len(whole) - 1)
            here = (whole[order[found]] == rows) & (self._entry < 0)
            self._entry[here], self._place[here] = number, order[found][here]
        self._entry[self._full :] = -1  # the last batch has another shape

    @property
    def worthwhile(self) -> bool:
        """Whether half of the rows are known."""
        return self._full > 0 and 2 * int((self._entry >= 0).sum()) >= self._full

    def agrees(self, encode: Callable[[Sequence[int]], Part]) -> bool:
        """Whether a batch that is encoded anew, with other mates, has the same bits.

        Args:
            encode: gives the features of the samples at some places.
        """
        known = np.flatnonzero(self._entry >= 0)
        chosen = np.resize(known[:: max(1, len(known) // self._size)], self._size).tolist()
        fresh, taken = encode(chosen), self._taken(chosen)
        return fresh.keys() == taken.keys() and all(np.array_equal(fresh[leaf], taken[leaf]) for leaf in fresh)

    def parts(self, first: int, encode: Callable[[Sequence[int]], Part]) -> Iterator[Part]:
        """The features of the batches from that of sample `first` on, in order.

        Args:
            first: where a batch begins.
            encode: gives the features of the samples at some places.
        """
        fresh: dict[int, Part] = {}  # of single samples
        waiting: list[int] = []
        start = first
        unknown = first + np.flatnonzero(self._entry[first : self._full] < 0)
        for group in np.split(unknown, range(self._size, len(unknown), self._size)) if len(unknown) else ():
            places = group.tolist()
            fill = np.resize(np.flatnonzero(self._entry >= 0), self._size - len(places)).tolist()
            part = encode([*places, *fill])
            if (part["lengths"] != self._steps).any():  # then a row's features hang on the longest of its batch
                for begin in range(start, len(self._entry), self._size):
                    yield encode(range(begin, min(begin + self._size, len(self._entry))))
                return
            fresh |= dict(zip(places, _single(part, len(places)), strict=True))
            waiting += places
            ready = self._full if group[-1] == unknown[-1] else group[-1] // self._size * self._size
            for begin in range(start, ready, self._size):
                yield self._batch(begin, fresh)
            start = max(start, ready)
            for place in [place for place in waiting if place < start]:
                del fresh[place]
            waiting = [place for place in waiting if place >= start]
        for begin in range(start, self._full, self._size):
            yield self._batch(begin, fresh)
        if self._full < len(self._entry):
            yield encode(range(max(self._full, first), len(self._entry)))

    def _batch(self, begin: int, fresh: dict[int, Part]) -> Part:
        places = range(begin, begin + self._size)
        known = [place for place in places if place not in fresh]
        taken = iter(_single(self._taken(known), len(known)) if known else ())
        each = [fresh[place] if place in fresh else next(taken) for place in places]
        return {leaf: np.concatenate([one[leaf] for one in each]) for leaf in each[0]}

    def _taken(self, places: Sequence[int]) -> Part:
        """Known features of the samples at some places."""
        each = []
        for place in places:
            packed, row = self._of[self._entry[place]].packed, int(self._place[place])
            steps = self._steps or 0
            one = {"tokens": packed.tokens[row * steps : (row + 1) * steps].numpy(), "lengths": np.array([steps])}
            if packed.pooled is not None:
                one["pooled"] = packed.pooled[row : row + 1].numpy()
            each.append(one)
        return {leaf: np.concatenate([one[leaf] for one in each]) for leaf in each[0]}


def _single(part: Part, count: int) -> list[Part]:
    """The features of the first samples of a batch, one by one."""
    ends = np.cumsum(part["lengths"])
    found = []
    for number in range(count):
        tokens = slice(ends[number] - part["lengths"][number], ends[number])
        one = {leaf: values[number : number + 1] for leaf, values in part.items() if leaf != "tokens"}
        found.append({**one, "tokens": part["tokens"][tokens]})
    return found
