"""Arrays of numbers as users have them, brought to one form: what every modality of arrays reads by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

KINDS = "biufc"
"""Kinds of dtype that numpy gives numbers: bool, signed, unsigned, float, complex."""


def array_of(raw: Any) -> Array:
    """The numbers of an array, a tensor, a nested list or a column of a table, by position, in this machine's byte
    order and with strides that torch takes. It may share the memory of `raw`.

    Floats of a list are float64, and its integers int64. Integers and floats that numpy holds as objects, as columns of
    tables do, become numbers.

    Raises:
        ValueError: it holds something else than numbers, or is ragged; the message says what.
    """  # noqa: D205 - one sentence
    if isinstance(raw, Tensor):
        plain = raw.detach().cpu()
        return plain.float().numpy() if plain.is_floating_point() and plain.itemsize < 4 else plain.numpy()
    try:
        array = np.asarray(raw)
        if array.dtype == object:
            array = np.array(array.tolist())
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{type(raw).__name__}: {error}") from error
    if array.dtype.kind not in KINDS:
        held = f" of {array.dtype}" if hasattr(raw, "dtype") or isinstance(raw, Sequence) else ""
        raise ValueError(f"{type(raw).__name__}{held}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    # torch takes no negative stride, and warns of memory that cannot be written.
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()
