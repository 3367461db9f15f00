"""Values that cannot be read, counted before anything is trained: some of each input are decoded, or all.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmkit.errors import DataError
from mmkit.sources.columns import Array, Media, Store
from mmkit.sources.findings import Finding
from mmkit.sources.twins import alike, difference_hash
from mmkit.titles import counted

VALUES = 200
"""Values of an input that are decoded, spread evenly over its rows."""
BYTES = 64 * 2**20
"""Bytes of files after which no more are decoded, unless all are."""

Decode = Callable[[Any], Any]
"""Reads a raw value into memory; raises DataError where it cannot."""


@dataclass(frozen=True)
class Looked:
    """What was seen in the values of an input.

    Args:
        findings: how many cannot be read.
        twins: [N] the first row with nearly the same picture; None where not all were looked at, or none is a picture.
    """

    findings: list[Finding]
    twins: Array | None = None


def look(name: str, store: Store, there: Array, decode: Decode, *, deep: bool = False) -> Looked:
    """Decode values of an input.

    Args:
        name: of the input.
        store: its values.
        there: [N] bool, rows that have a value.
        decode: of its modality.
        deep: all values, not some, and pictures are compared.
    """
    rows = np.flatnonzero(there)
    if not deep and len(rows) > VALUES:
        rows = rows[np.linspace(0, len(rows) - 1, VALUES).astype(int)]
    broken: list[tuple[int, str]] = []
    looks = np.zeros(len(there), np.uint64)
    read = total = 0
    for row in rows.tolist():
        if total > BYTES and not deep:
            break
        read += 1
        try:
            raw = store.value(row)
            total += _size(raw) if isinstance(store, Media) or isinstance(raw, bytes) else 0
            value = decode(raw)
        except DataError as error:
            broken.append((row, str(error)))
            continue
        if deep and isinstance(value, Tensor) and value.ndim == 3:
            looks[row] = difference_hash(value)
    findings = [_told(name, broken, read, whole=read == int(there.sum()))] if broken else []
    return Looked(findings, alike(looks) if looks.any() else None)


def _size(raw: str | bytes | None) -> int:
    """The bytes of a file, or of what a cell holds."""
    return len(raw) if isinstance(raw, bytes) else Path(raw).stat().st_size if raw else 0


def _told(name: str, broken: list[tuple[int, str]], read: int, *, whole: bool) -> Finding:
    of = f"all {read:,} values" if whole else f"{counted(read, 'value')} that were read"
    some = "; ".join(f"row {row}: {why:.160}" for row, why in broken[:2])
    more = f"; and {len(broken) - 2:,} more" if len(broken) > 2 else ""
    rest = "" if whole else "; --deep reads all"
    return Finding("warning", f"{name}: {len(broken):,} of {of} cannot be read: {some}{more}{rest}", (name,))
