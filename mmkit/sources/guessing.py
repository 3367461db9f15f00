"""What each column of a table is, with the reason: guessed from types, names and values, never silently.

The first rule that fits wins, and its words are the reason. Patterns are looked for in at most 10,000 rows spread
evenly over the column; what is missing and what is different is counted in all of it. Where two readings are likely,
nothing is chosen: the guess has a problem, which says what to write to decide it.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from mmkit.errors import UsageError, one_of
from mmkit.plugin import ModalitySpec
from mmkit.sources.by_text import Strings
from mmkit.sources.by_type import (
    empty_in,
    guess_bytes,
    guess_coded,
    guess_lists,
    guess_members,
    guess_numbers,
    missing_of,
    unless_one,
)
from mmkit.sources.dates import dates
from mmkit.sources.guess import TABLE, Guess
from mmkit.sources.hashes import hashes
from mmkit.sources.members import is_member
from mmkit.sources.numbers import numbers
from mmkit.sources.sampling import some
from mmkit.sources.types import is_bytes, is_list, is_plain, is_text, usual


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
    column = usual(column)
    missing = missing_of(column)
    if missing == len(column):
        return Guess("ignore", "all values are missing", missing)
    known = tuple(spec for spec in modalities if spec.extensions or spec.magic)
    kind = column.type
    if pat.is_dictionary(kind) or pat.is_boolean(kind):
        found = guess_coded(column, missing)
    elif pat.is_temporal(kind) and not (pat.is_duration(kind) or pat.is_interval(kind)):
        found = unless_one(column, missing, Guess("date", f"Arrow's type {kind}", missing))
    elif is_member(kind):
        found = guess_members(column, missing, known)
    elif is_bytes(kind) or pat.is_struct(kind):
        found = guess_bytes(column, missing, known)
    elif is_list(kind):
        found = guess_lists(column, missing)
    elif is_text(kind):
        found = Strings(name, column, missing).guess(known, files, outside=outside)
    elif pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind):
        found = guess_numbers(name, column, missing)
    else:
        found = Guess("ignore", f"nothing here reads Arrow's type {kind}", missing)
    return found


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
    given = dict(given or {})
    columns = {name: usual(column) for name, column in columns.items()}
    installed = tuple(modalities)
    possible = [*TABLE, *(spec.name for spec in installed if spec.name != "table"), "ignore"]
    for name, kind in given.items():
        if name not in columns:
            raise UsageError(f"there is no column {name!r}; {one_of(columns, name)}")
        if kind not in possible:
            raise UsageError(f"column {name!r} cannot be of the kind {kind!r}; {one_of(possible, kind)}")
    earlier: dict[int, list[str]] = {}
    found = {}
    for name, column in columns.items():
        if name in given:
            found[name] = _as_given(name, column, given[name])
        else:
            found[name] = guess(name, column, modalities=installed, files=files, outside=outside)
            if found[name].kind == "ignore":
                continue
            twin = next((other for other in earlier.get(_mark(column), []) if columns[other].equals(column)), None)
            if twin is not None:
                found[name] = Guess("ignore", f"equal to the column {twin}", found[name].missing)
                continue
        if found[name].kind != "ignore":
            earlier.setdefault(_mark(column), []).append(name)
    return found


def _mark(column: pa.ChunkedArray) -> int:
    """The same for equal columns, and hardly ever for others."""
    return hash((str(column.type), column.null_count, hashes(some(column, 100)).tobytes()))


def _as_given(name: str, column: pa.ChunkedArray, kind: str) -> Guess:
    column = usual(column)
    missing = missing_of(column)
    if kind == "number":
        values = numbers(column)
        if np.isnan(values).all() and missing < len(column):
            raise UsageError(f"column {name!r} cannot be a number: its values have no one form, as {_shown(column)}")
        missing = int(np.isnan(values).sum())
    elif kind.partition(":")[0] == "date":
        moments = dates(column, kind)
        if np.isnat(moments).all() and missing < len(column):
            raise UsageError(f"column {name!r} cannot be read as {kind}: its values are as {_shown(column)}")
        missing = int(np.isnat(moments).sum())
    elif kind in {"numbers", "tags"} and not (is_list(column.type) or is_text(column.type)):
        raise UsageError(f"column {name!r} cannot be {kind}, which are lists: its values are as {_shown(column)}")
    elif kind == "series":
        missing += empty_in(column)
    elif kind in {"category", "text"} and not is_plain(column.type):
        raise UsageError(f"column {name!r} cannot be a {kind}: its values are as {_shown(column)}")
    elif kind == "text" and is_bytes(column.type) and not _is_utf8(column):
        raise UsageError(f"column {name!r} cannot be a text: its bytes are not UTF-8, as {_shown(column)}")
    return Guess(kind, "as you wrote", missing)


def _is_utf8(column: pa.ChunkedArray) -> bool:
    try:
        column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _shown(column: pa.ChunkedArray) -> str:
    few = some(column, 3)
    if pat.is_temporal(column.type) and not pat.is_interval(column.type):
        few = few.cast(pa.string())  # some are beyond what Python can say
    return ", ".join(f"{value!r:.40}" for value in few.to_pylist())
