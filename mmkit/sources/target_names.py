"""The names of a target's columns in one text, with commas between them; one that has a comma itself is quoted.

Standard library alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterable


def together(names: Iterable[str]) -> str:
    """The names in one text.

    >>> together(["height", "arms, legs"])
    'height,"arms, legs"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def columns_in(text: str, columns: Container[str]) -> tuple[str, ...]:
    """The columns that a text names: the one whose whole name it is, else those between its commas.

    Args:
        text: as the user wrote it.
        columns: of the table.

    >>> columns_in("arms, legs", {"arms, legs"}), columns_in("height, weight", {"arms, legs"})
    (('arms, legs',), ('height', 'weight'))
    """
    if text in columns:
        return (text,)
    parts = next(csv.reader([text], skipinitialspace=True), [])
    return tuple(part.strip() for part in parts if part.strip())
