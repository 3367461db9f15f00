"""What a column of Python objects is, which Arrow refuses: told by the types of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from mmkit.sources.guess import Guess


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
