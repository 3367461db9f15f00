"""The data files that ship with the package, and an order of their items that never changes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import numpy as np

from mmkit.errors import DataError


@functools.cache
def shipped(name: str) -> Mapping[str, np.ndarray[Any, Any]]:
    """The arrays of `mmkit/tasks/data/NAME`, read once.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = resources.files("mmkit.tasks").joinpath("data", name)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        raise DataError(
            f"cannot read {path}, which ships with mmkit-core: {error}; install mmkit-core again"
        ) from error


def shuffled(items: Iterable[str], seed: int) -> list[str]:
    """The items in an order that depends on the seed and on them alone, not on any version of a library.

    >>> shuffled(["a", "b", "c", "d"], seed=0)
    ['b', 'a', 'c', 'd']
    """
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed} {item}".encode()).digest())
