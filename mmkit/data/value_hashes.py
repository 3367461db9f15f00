"""What a raw value holds, as a number that is equal where contents are: cheap enough for every value of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor

from mmkit.modalities.arrays import is_missing

WHOLE = 1 << 16
"""Bytes of an array that are read as they are; of a larger one its start, middle and end."""
_PLAIN = frozenset({str, int, float, bool})


def value_hash(value: Any) -> int:
    """A hash of a raw value, the same for equal values of one process; 0 for a missing one.

    A file is known by its path. Of arrays of more than 64 KiB three parts are read.

    >>> value_hash({"a": 1, "b": None}) == value_hash({"b": float("nan"), "a": 1.0}), value_hash(None)
    (True, 0)
    """
    if isinstance(value, str | bytes | int | float | PurePath):
        return hash(value) if value == value else 0  # noqa: PLR0124 (NaN is missing)
    if value is None or is_missing(value):
        return 0
    if isinstance(value, Mapping):
        # Most cells are plain, and a call for each would take most of the time.
        cells = [(k, hash(v) if type(v) in _PLAIN and v == v else value_hash(v)) for k, v in value.items()]  # noqa: PLR0124
        return hash(frozenset(cells))
    if isinstance(value, list | tuple):
        return hash(tuple(map(value_hash, value)))
    return hash(_plain(value))


def _plain(value: Any) -> Any:
    """What stands for an array, a picture, or something unknown."""
    if isinstance(value, Tensor):
        value = value.numpy(force=True)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.shape, _parts(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    if hasattr(value, "tobytes") and hasattr(value, "size"):
        return str(value.size), _parts(value.tobytes())  # a picture of Pillow
    return repr(value)


def _parts(data: bytes | memoryview) -> bytes:
    size, third = len(data), WHOLE // 3
    if size <= WHOLE:
        return bytes(data)
    middle = size // 2
    return bytes(data[:third]) + bytes(data[middle : middle + third]) + bytes(data[size - third :])
