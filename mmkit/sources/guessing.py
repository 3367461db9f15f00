"""What each column of a table is, with the reason: guessed from types, names and values, never silently.

The first rule that fits wins, and its words are the reason. Patterns are looked for in at most 10,000 rows spread
evenly over the column; what is missing and what is different is counted in all of it. Where two readings are likely,
nothing is chosen: the guess has a problem, which says what to write to decide it.

Kinds: a modality ("text", "image", "audio", "series", "video", ...), each column of which is an input by its own name;
those of the columns that make one input together, a row of a table: "number", "category", "date" (also "date:dayfirst"
and "date:monthfirst"), "numbers" (lists of one length) and "tags" (lists of words); and "ignore".

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mmkit.plugin import ModalitySpec

TABLE = ("number", "category", "date", "date:dayfirst", "date:monthfirst", "numbers", "tags")
"""Kinds of the columns that are one input together: a row of a table."""


@dataclass(frozen=True)
class Guess:
    """What a column is.

    Args:
        kind: its kind, as `--column NAME=KIND` takes it; of a guess with a problem, the likelier one.
        reason: the words of the rule that fitted.
        missing: how many of its rows have no value, as this kind is read.
        problem: why nothing is chosen for the user, and what to write to choose; None where the kind is plain.
        absent: strings that mean "missing" in this column ("?", "na", ...), where it is a number.
    """

    kind: str
    reason: str
    missing: int
    problem: str | None = None
    absent: tuple[str, ...] = ()


def guess(
    name: str,
    column: pa.ChunkedArray,
    *,
    modalities: Iterable[ModalitySpec] = (),
    files: Path | None = None,
    outside: bool = False,
) -> Guess:
    """What one column is.

    Args:
        name: of the column; some rules read it (id, zip, created_at, ...).
        column: [N], as it was read; strings where the source has no types.
        modalities: those that are installed, which know their files by `extensions` and `magic`.
        files: the folder where relative paths begin; None where there are no files to look for.
        outside: True where paths that leave the folder are allowed.
    """
    raise NotImplementedError


def guesses(
    columns: Mapping[str, pa.ChunkedArray],
    given: Mapping[str, str] | None = None,
    *,
    modalities: Iterable[ModalitySpec] = (),
    files: Path | None = None,
    outside: bool = False,
) -> dict[str, Guess]:
    """What each column is, in the order of the table.

    A column that equals an earlier one is ignored. Problems are not raised: who reads the table decides whether the
    column is used.

    Args:
        columns: [N] each, by name.
        given: kinds that the user wrote, by column.
        modalities: those that are installed.
        files: the folder where relative paths begin.
        outside: True where paths that leave the folder are allowed.

    Raises:
        UsageError: `given` names a column or a kind that there is not, or a kind that the column's type cannot be.
    """
    raise NotImplementedError
