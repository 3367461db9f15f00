"""What a user says of data in Python, by name; the standard library alone, so that it costs nothing to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict


class About(TypedDict, total=False):
    """The options of the task `own-data` beside `data` and `target`; `mmkit.inspect` says what each is."""

    target_kind: Literal["classes", "labels", "scalar", "text"] | None
    columns: Mapping[str, str] | None
    group: str | Sequence[str]
    time: str | None
    id: str | None
    split_seed: int
    splits: str | Mapping[str, Any]
    files: str | Path | None
    outside: bool
    folds: int | None
    deep: bool
