"""A column of Python objects, which Arrow refuses: what it is, by the types of all of them, and which are equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from torch import Tensor

from mmkit.sources.guess import Guess
from mmkit.system.hashing import digest


def guess_objects(name: str, values: Sequence[Any]) -> Guess:
    """What a column of objects is.

    Args:
        name: of the column.
        values: [N], None where missing.
    """
    there = [value for value in values if value is not None]
    missing = len(values) - len(there)
    if not there:
        return Guess("ignore", "all missing", missing)
    kinds = {_kind(value) for value in there}
    if len(kinds) > 1 or None in kinds:
        types = ", ".join(sorted({type(value).__name__ for value in there})[:4])
        problem = (
            f"column {name} holds {types}, which are of no one modality; --column {name}=KIND says which, or ignore"
        )
        return Guess("ignore", f"objects of {types}", missing, problem)
    kind, reason = _REASONS[kinds.pop() or ""]
    return Guess(kind, reason, missing)


_REASONS = {
    "picture": ("image", "Pillow images"),
    "pixels": ("image", "arrays of pixels"),
    "sound": ("audio", "pairs of a waveform and its rate"),
    "signal": ("series", "arrays of numbers over time"),
}


def hashed_objects(values: Sequence[Any]) -> tuple[pa.ChunkedArray, str]:
    """A hash of the content of each object, and why some have none; empty where all have.

    An object that cannot be hashed by its content gets a hash that no other has.

    Args:
        values: [N], None where missing.

    Returns:
        [N] bytes, null where missing; and the reason.
    """
    found: list[bytes | None] = []
    why = ""
    for row, value in enumerate(values):
        try:
            found.append(None if value is None else bytes.fromhex(digest(value)))
        except TypeError as error:
            found.append(f"row {row}".encode())
            why = why or str(error)
    return pa.chunked_array([pa.array(found, pa.binary())]), why


def _kind(value: Any) -> str | None:
    if isinstance(value, Image.Image):
        return "picture"
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], np.ndarray | Tensor):
        return "sound"
    if isinstance(value, np.ndarray | Tensor):
        if value.ndim == 3 or (value.ndim == 2 and str(value.dtype).endswith("uint8")):
            return "pixels"
        return "signal" if value.ndim in {1, 2} else None
    if isinstance(value, list | tuple):
        return "signal"
    return None
