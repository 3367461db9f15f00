"""What a column is whose type says much of it: categories, bytes, lists, numbers.

Axes: N rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.plugin import ModalitySpec
from mmkit.sources.guess import LOOKED_AT, Guess
from mmkit.sources.hashes import different, pieces
from mmkit.sources.members import ending, heads
from mmkit.sources.numbers import numbers
from mmkit.sources.sampling import some
from mmkit.sources.types import is_list, is_number, is_text
from mmkit.sources.whole_numbers import guess_whole

FIRST_BYTES = 64
"""Of a file, by which its kind is told."""


def missing_of(column: pa.ChunkedArray) -> int:
    """Rows without a value: null, NaN, or a blank string."""
    if is_text(column.type):
        return sum(
            len(piece) - pc.sum(pc.match_substring_regex(piece.cast(pa.large_string()), r"\S")).as_py()
            if piece.null_count < len(piece)
            else len(piece)
            for piece in pieces(column)
        )
    if pat.is_floating(column.type):
        return pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0
    return column.null_count


def empty_in(column: pa.ChunkedArray) -> int:
    """Rows that hold an empty list, or one as JSON."""
    if is_list(column.type):
        return pc.sum(pc.equal(pc.list_value_length(column), 0)).as_py() or 0
    return pc.sum(pc.match_substring_regex(column, r"^\s*\[\s*\]\s*$")).as_py() or 0 if is_text(column.type) else 0


def one_value(missing: int) -> str:
    """The reason of a column that tells nothing."""
    return "one value alone" + (", or none" if missing else "")


def unless_one(column: pa.ChunkedArray, missing: int, found: Guess) -> Guess:
    """The guess, unless the column has one value alone."""
    return Guess("ignore", one_value(missing), missing) if different(column) <= 1 else found


def guess_coded(column: pa.ChunkedArray, missing: int) -> Guess:
    """What a column of bools or of Arrow's dictionaries is."""
    kind = "bools" if pat.is_boolean(column.type) else "categories by their type"
    count = different(column)
    if count <= 1:
        return Guess("ignore", one_value(missing), missing)
    return Guess("category", kind if kind == "bools" else f"{kind}, {count:,} values", missing)


def guess_bytes(column: pa.ChunkedArray, missing: int, known: Sequence[ModalitySpec]) -> Guess:
    """What a column of bytes, or of `{bytes, path}`, is: a modality by the first bytes."""
    if pat.is_struct(column.type):
        names = {column.type.field(i).name for i in range(column.type.num_fields)}
        if not (names <= {"bytes", "path"} and "bytes" in names):
            return Guess("ignore", f"a mapping of {', '.join(sorted(names))}, which nothing here reads", missing)
        parts = pa.chunked_array([pc.struct_field(chunk, "bytes") for chunk in some(column, LOOKED_AT).chunks])
    else:
        parts = some(column, LOOKED_AT)
    heads = [value[:FIRST_BYTES] for value in parts.to_pylist() if value]
    return guess_heads(heads, missing, known, "bytes") or Guess("ignore", "bytes of no kind that is known", missing)


def guess_members(column: pa.ChunkedArray, missing: int, known: Sequence[ModalitySpec]) -> Guess:
    """What a column of members of tars is: a modality by their extensions, or by their first bytes."""
    looked = list(heads(some(column, LOOKED_AT), FIRST_BYTES))
    for spec in known:
        if sum(ending(name) in spec.extensions for name, _ in looked) > 0.9 * len(looked):
            return Guess(spec.name, f"members of tars that end as {spec.name} files do", missing)
    found = guess_heads([head for _, head in looked if head], missing, known, "members of tars")
    return found or Guess("ignore", f"members of tars of no kind that is known, as {looked[0][0]!a:.80}", missing)


def guess_heads(heads: Sequence[bytes], missing: int, known: Sequence[ModalitySpec], what: str) -> Guess | None:
    """The modality whose files begin as more than 90 % of these do; None where there is none."""
    for spec in known:
        patterns = [re.compile(pattern, re.DOTALL) for pattern in spec.magic]
        fits = sum(any(pattern.match(head) for pattern in patterns) for head in heads)
        if heads and fits > 0.9 * len(heads):
            return Guess(spec.name, f"{what} that begin as {spec.name} files do", missing)
    return None


def guess_lists(column: pa.ChunkedArray, missing: int, what: str = "lists") -> Guess:
    """What a column of lists is, by what they hold and how long they are."""
    lengths = np.concatenate(
        [pc.list_value_length(piece).drop_null().to_numpy(zero_copy_only=False) for piece in pieces(column)]
    )
    inner = column.type.value_type
    empty = empty_in(column)  # a series without a step is missing; a row without tags has none
    if not lengths.size or not lengths.any():
        return Guess("ignore", "all lists are empty", len(column))
    if is_list(inner):
        return Guess("series", f"{what} of lists", missing + empty)
    if is_text(inner) or pat.is_dictionary(inner):
        return Guess("tags", f"{what} of strings", missing)
    if not is_number(inner):
        return Guess("ignore", f"{what} of Arrow's type {inner}, which nothing here reads", missing)
    if lengths.min() == lengths.max():
        return Guess("numbers", f"{what} of {lengths.max():,} numbers each", missing)
    least = lengths[lengths > 0].min()
    sizes = f"{least:,} to {lengths.max():,} numbers" if least < lengths.max() else f"{least:,} numbers, or of none"
    return Guess("series", f"{what} of {sizes}", missing + empty)


def guess_numbers(name: str, column: pa.ChunkedArray, missing: int) -> Guess:
    """What a column of Arrow's numbers is."""
    ends = pc.min_max(column).as_py()
    if ends["min"] == ends["max"]:
        return Guess("ignore", one_value(missing), missing)
    seen = [value for value in some(column).to_pylist() if math.isfinite(value)]
    fractions = any(value % 1 for value in seen)
    if not fractions and not pat.is_integer(column.type):
        values = numbers(column)
        known = values[np.isfinite(values)]
        fractions = not (known.size and np.abs(known).max() < 2**53 and (known == np.floor(known)).all())
    if fractions:
        return Guess("number", "numbers", missing)
    return guess_whole(name, column, [int(value) for value in seen], missing)
