"""Equality and content of raw values, arrays and tensors among them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor


def alike(one: Any, other: Any) -> bool:
    """True where two raw values are the same; NaN is NaN."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    if type(one) is not type(other):
        return False
    return bool(one == other) or (isinstance(one, float) and one != one and other != other)  # noqa: PLR0124


def content(value: Any) -> bytes:
    """What a raw value says, the same in every process; of a set, whose order means nothing, in one order."""
    if isinstance(value, Tensor):
        value = value.numpy(force=True)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} ".encode() + value.tobytes()
    if isinstance(value, Mapping):
        return b"{" + b",".join(repr(key).encode() + content(value[key]) for key in sorted(value, key=str)) + b"}"
    if isinstance(value, Set):
        return b"{" + b",".join(sorted(map(content, value))) + b"}"
    if isinstance(value, list | tuple | np.ndarray):
        return b"[" + b",".join(map(content, value)) + b"]"
    if isinstance(value, bytes):
        return value
    plain = value is None or isinstance(value, str | int | float | PurePath | np.generic)
    return repr(value).encode() if plain else pickle.dumps(value)
