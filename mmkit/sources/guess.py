"""What a column is taken for, with the words of the rule that fitted.

Kinds: a modality ("text", "image", "audio", "series", "video", ...), each column of which is an input by its own name;
those of the columns that make one input together, a row of a table: "number", "category", "date" (also "date:dayfirst"
and "date:monthfirst"), "numbers" (lists of one length) and "tags" (lists of words); and "ignore".

Standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = ("number", "category", "date", "date:dayfirst", "date:monthfirst", "numbers", "tags")
"""Kinds of the columns that are one input together: a row of a table."""

LOOKED_AT = 200
"""Files that are looked for, of a column of their names."""


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
