"""Values that are decoded when they are asked for: what is larger than memory is never decoded all at once.

Axes: N values as the task gives them, S of them in use.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mmkit.contract import Modality
from mmkit.data.content import TEXTS, content_of
from mmkit.data.loader import Loader
from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing
from mmkit.system.code import code_of
from mmkit.system.hashing import digest
from mmkit.system.machine import distributions_of, of_features

Places = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

PROBED = 64
"""Values by which the size of a column is estimated."""
EAGER = 128 * 2**20
"""Bytes of decoded values up to which a column is decoded at once, and stays in memory."""
TOGETHER = 4096
"""Raw values that are read together."""
UNREAD = object()
"""In place of a raw value that is not read yet."""
CHUNK = 32 * 2**20
"""Bytes of decoded values that are in memory at once."""


class Origin(NamedTuple):
    """Where values are from.

    Args:
        table: a hash of a column of a table, and of the code that decodes it.
        rows: [S] the numbers of their rows there.
    """

    table: str
    rows: Places


class Raw:
    """The raw values of a column, and how each is read.

    Args:
        values: [N] raw; read in any order, by several threads.
        modality: decodes them.
        kind: name of the modality.
    """

    def __init__(self, values: Sequence[Any], modality: Modality, kind: str = "") -> None:
        self.values = values
        self.modality = modality
        self.kind = kind
        self.unread: dict[int, str] = {}
        """Why values could not be read, by place, as far as they were asked for."""
        self._lock = threading.Lock()

    @cached_property
    def count(self) -> int:
        """How many values are there, whether they can be read or not."""
        gaps = getattr(self.values, "gaps", None)
        if gaps is not None and hasattr(self.values, "subset"):
            return len(self.values) - int(np.asarray(gaps()).sum())
        return sum(not is_missing(one) for one in self.values)

    def decoded(self, raw: Any) -> Any:
        """The decoded value of a raw one; None where it is missing.

        Raises:
            DataError: it cannot be read.
        """
        return None if raw is None or is_missing(raw) else self.modality.decode(raw)

    def decoder(self) -> tuple[str, str, dict[str, str | None]]:
        """What decodes the values: a name, a hash of its code, and the versions of what is installed.

        Raises:
            TypeError: its code cannot be seen.
        """
        kind = type(self.modality)
        code = code_of(kind)
        if code is None:
            raise TypeError(f"the code of modality {self.kind or kind.__qualname__} cannot be seen")
        return f"{kind.__module__}.{kind.__qualname__}", code, of_features(distributions_of(kind.__module__))

    def several(self, places: Places) -> Sequence[Any] | None:
        """The raw values at some places, where they are read faster together; else None."""
        take = getattr(self.values, "take", None)
        if take is None or not hasattr(
            type(self.values), "fingerprint"
        ):  # arrays and frames have a `take` of their own
            return None
        try:
            found: Sequence[Any] = take(places)
        except DataError:
            return None  # one of them must not be read; which, is found value by value
        return found

    def decoded_together(self, raws: Sequence[Any]) -> Sequence[Any] | None:
        """The decoded values of raw ones, where the modality decodes them faster together; else None.

        So it is where one of them cannot be read: which, is found value by value.
        """
        many = getattr(self.modality, "decode_many", None)
        if many is None or not _beside(type(self.modality), "decode", "decode_many"):
            return None
        try:
            found: Sequence[Any] = many(raws)
        except DataError:
            return None
        return found

    def note(self, place: int, reason: str) -> bool:
        """Remember that a value could not be read; False if that was known."""
        with self._lock:
            known = place in self.unread
            self.unread[place] = reason
        return not known

    @property
    def on_disk(self) -> bool:
        """Whether the raw values take little memory beside the decoded ones: lazy columns, and names of files."""
        if hasattr(self.values, "subset"):
            return True
        first = next((one for one in self.values if one is not None), None)
        return isinstance(first, PurePath) or (isinstance(first, str | bytes) and self.kind not in TEXTS)


class Decoded(Sequence[Any]):
    """The values of a column, decoded whenever they are asked for.

    Args:
        raw: how each is read.
        bad: what is done with a value that cannot be read: called with its place and why, it raises or gives None.
        places: [S] of those in use; None is all.
        blank: places whose values are dropped.
    """

    def __init__(self, raw: Raw, bad: Any, places: Places | None = None, blank: frozenset[int] = frozenset()) -> None:
        self._raw = raw
        self._bad = bad
        self._places = np.arange(len(raw.values), dtype=np.int64) if places is None else places
        self._blank = blank

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the raw content, and of the code that decodes it.

        Raises:
            TypeError: a value, or the code, cannot be known by its content.
        """
        decoder = self._raw.decoder()
        own = getattr(self._raw.values, "subset", None)
        values = [self._raw.values[i] for i in self._places.tolist()] if own is None else own(self._places)
        content = content_of(values, files=self._raw.kind not in TEXTS).fingerprint
        blank = [] if not self._blank else np.flatnonzero(np.isin(self._places, list(self._blank))).tolist()
        return digest([content, *decoder, blank])

    @property
    def origin(self) -> Origin | None:
        """The table that the values are of, and the number of each row; None where they are of none, or some are gone.

        Raises:
            TypeError: the code that decodes them cannot be known by its content.
        """
        values = self._raw.values
        if self._blank or self._raw.unread or not (hasattr(values, "store") and hasattr(values, "rows")):
            return None
        return Origin(digest([values.store.fingerprint, *self._raw.decoder()]), values.rows[self._places])

    @cached_property
    def _gaps(self) -> Flags:
        known = getattr(self._raw.values, "gaps", None)
        if known is not None:
            return np.asarray(known(self._places))
        return np.fromiter((self[i] is None for i in range(len(self))), bool, len(self))

    def gaps(self) -> Flags:
        """[S] bool: True where a value is missing, or could not be read, as far as it was asked for."""
        gone = [*self._blank, *self._raw.unread]
        return self._gaps | np.isin(self._places, gone) if gone else self._gaps

    @property
    def arrow(self) -> Any:
        """Reads rows of a table column by column, where the raw values do: `arrow(index, names)`; else None."""
        found = getattr(self._raw.values, "arrow", None)
        if found is None or self._blank or self._raw.unread:
            return None
        return lambda index, names=None: found(self._places[np.asarray(index, dtype=np.int64)], names)

    @cached_property
    def at_once(self) -> int:
        """How many values are in memory at once: as many as `CHUNK` bytes hold, from 64 to 4096."""
        return int(np.clip(CHUNK // max(self.bytes_each, 1), 64, 4096))

    @cached_property
    def bytes_each(self) -> float:
        """The bytes of a decoded value in memory, by some that are spread over the column."""
        places = np.unique(np.linspace(0, max(len(self) - 1, 0), PROBED).astype(np.int64)).tolist()
        sizes = [bytes_in_memory(self[place]) for place in places[: len(self)]]
        return sum(sizes) / max(len(sizes), 1)

    def subset(self, index: Iterable[int]) -> Decoded:
        """Some of the values, of which none is read for it."""
        chosen = index if isinstance(index, np.ndarray) else np.fromiter(index, np.int64)
        return Decoded(self._raw, self._bad, self._places[chosen], self._blank)

    def joined(self, other: Decoded) -> Decoded | None:
        """These values and then the others, of which none is read; None where the raw values cannot be joined so."""
        join = getattr(self._raw.values, "joined", None)
        values = None if join is None else join(other._raw.values)
        if values is None:
            return None
        first = len(self._raw.values)
        raw = Raw(values, self._raw.modality, self._raw.kind)
        raw.unread = self._raw.unread | {place + first: why for place, why in other._raw.unread.items()}

        def bad(place: int, error: DataError) -> Any:
            raw.note(place, str(error))
            return self._bad(place, error) if place < first else other._bad(place - first, error)

        places = np.concatenate([self._places, other._places + first])
        return Decoded(raw, bad, places, self._blank | {place + first for place in other._blank})

    def without(self, index: Iterable[int]) -> Decoded:
        """The same values without those at the given positions, which are missing now."""
        return Decoded(self._raw, self._bad, self._places, self._blank | {int(self._places[i]) for i in index})

    def blank(self, index: int) -> bool:
        """Whether a value was dropped."""
        return int(self._places[index]) in self._blank

    def _value(self, index: int) -> Any:
        return self._at(int(self._places[index]), UNREAD)

    def _at(self, place: int, raw: Any) -> Any:
        if place in self._blank:
            return None
        try:
            return self._raw.decoded(self._raw.values[place] if raw is UNREAD else raw)
        except DataError as error:
            return self._bad(place, error)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.subset(np.arange(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._value(index)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Any]:
        with Loader() as load:  # by several threads, where decoding is slow
            for start in range(0, len(self), TOGETHER):
                places = self._places[start : start + TOGETHER]
                known = self._raw.several(places)
                decoded = None if known is None or self._blank else self._raw.decoded_together(known)
                if decoded is not None:
                    yield from decoded
                else:
                    yield from load(partial(self._of_known, places.tolist(), known), len(places))

    def _of_known(self, places: Sequence[int], known: Sequence[Any] | None, index: int) -> Any:
        """The value at one of some places, whose raw values are known already where that is cheap."""
        return self._at(places[index], UNREAD if known is None else known[index])


def _beside(kind: type, name: str, other: str) -> bool:
    """Whether two methods stand in one class: a modality that changes the one may have inherited the other."""
    first = next((base for base in kind.__mro__ if name in vars(base)), None)
    return first is not None and other in vars(first)


def bytes_in_memory(value: Any) -> int:
    """About the bytes that a decoded value takes.

    >>> import torch
    >>> bytes_in_memory((torch.zeros(100), 16_000)) >= 400
    True
    """
    if isinstance(value, Tensor | np.ndarray):
        return value.nbytes + 200
    if isinstance(value, Mapping):
        return sys.getsizeof(value) + sum(map(bytes_in_memory, value.values()))
    if isinstance(value, list | tuple):
        return sys.getsizeof(value) + sum(map(bytes_in_memory, value))
    return sys.getsizeof(value)
