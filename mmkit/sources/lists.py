"""Lists that strings hold as JSON. Standard library alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def is_json_list(text: str) -> bool:
    """Whether a string looks like a list of JSON."""
    return text[:1] == "[" and text[-1:] == "]"


def listed(texts: Sequence[str | None]) -> list[list[Any] | None]:
    """Lists that strings hold as JSON; None where a string is missing or is none."""
    return [_list(text.strip()) if text is not None else None for text in texts]


def _list(text: str) -> list[Any] | None:
    if not is_json_list(text):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
