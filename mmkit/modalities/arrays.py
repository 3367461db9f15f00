"""Arrays of numbers as users have them, brought to one form: what every modality of arrays reads by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]

KINDS = "biufc"
"""Kinds of dtype that numpy gives numbers: bool, signed, unsigned, float, complex."""

PLAIN = frozenset({str, int, float, bool})
"""Types of values that are themselves."""


def is_gap(raw: Any) -> bool:
    """Whether a value is a mark of nothing: None, those of pandas, which compare unlike any other, or numpy's mask."""
    return raw is None or raw is np.ma.masked or type(raw).__name__ in {"NAType", "NaTType"}


def is_missing(raw: Any) -> bool:
    """Whether a value says itself that it is not there: a mark of nothing, or NaN of any float type."""
    if type(raw) in PLAIN:  # most values are, and are known at once
        return bool(raw != raw)  # noqa: PLR0124 (NaN)
    if is_gap(raw):
        return True
    if isinstance(raw, np.ndarray | np.generic | Tensor) and raw.ndim == 0:
        raw = raw.item()
    return isinstance(raw, float) and raw != raw  # noqa: PLR0124 (NaN)


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
        if isinstance(raw, np.ma.MaskedArray) and raw.dtype.kind in "iuf" and np.ma.is_masked(raw):
            raw = np.where(np.ma.getmaskarray(raw), np.nan, np.ma.getdata(raw))  # no number stands there
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
