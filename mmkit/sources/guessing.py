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

import base64
import binascii
import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.errors import UsageError, one_of
from mmkit.plugin import ModalitySpec
from mmkit.sources import forms, words
from mmkit.sources.forms import MOST
from mmkit.sources.hashes import different, hashes, pieces
from mmkit.sources.paths import located
from mmkit.sources.sampling import some, strings
from mmkit.sources.types import is_bytes, is_list, is_number, is_text, usual

TABLE = ("number", "category", "date", "date:dayfirst", "date:monthfirst", "numbers", "tags")
"""Kinds of the columns that are one input together: a row of a table."""

FEW = 10
"""Whole numbers that are at most so many different ones are categories."""

LOOKED_AT = 200
"""Files that are looked for, of a column of their names."""

_FIRST_BYTES = 64
_LONG = 64  # the shortest base64 that is taken for a file
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.-]+)*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_ZEROS = re.compile(r"0[0-9]+")
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")


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
    column = usual(column)
    missing = missing_of(column)
    if missing == len(column):
        return Guess("ignore", "all values are missing", missing)
    known = tuple(spec for spec in modalities if spec.extensions or spec.magic)
    kind = column.type
    if pat.is_dictionary(kind) or pat.is_boolean(kind):
        found = _of_coded(column, missing)
    elif pat.is_temporal(kind) and not (pat.is_duration(kind) or pat.is_interval(kind)):
        found = _unless_one(column, missing, Guess("date", f"Arrow's type {kind}", missing))
    elif is_bytes(kind) or pat.is_struct(kind):
        found = _of_bytes(column, missing, known)
    elif is_list(kind):
        found = _of_lists(column, missing)
    elif is_text(kind):
        found = _Strings(name, column, missing).guess(known, files, outside=outside)
    elif pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind):
        found = _of_numbers(name, column, missing)
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
        values = forms.numbers(column)
        if np.isnan(values).all() and missing < len(column):
            raise UsageError(f"column {name!r} cannot be a number: its values have no one form, as {_shown(column)}")
        missing = int(np.isnan(values).sum())
    elif kind.partition(":")[0] == "date":
        moments = forms.dates(column, kind)
        if np.isnat(moments).all() and missing < len(column):
            raise UsageError(f"column {name!r} cannot be read as {kind}: its values are as {_shown(column)}")
        missing = int(np.isnat(moments).sum())
    elif kind in {"numbers", "tags"} and not (is_list(column.type) or is_text(column.type)):
        raise UsageError(f"column {name!r} cannot be {kind}, which are lists: its values are as {_shown(column)}")
    return Guess(kind, "as you wrote", missing)


def _shown(column: pa.ChunkedArray) -> str:
    few = some(column, 3)
    if pat.is_temporal(column.type) and not pat.is_interval(column.type):
        few = few.cast(pa.string())  # some are beyond what Python can say
    return ", ".join(f"{value!r:.40}" for value in few.to_pylist())


def missing_of(column: pa.ChunkedArray) -> int:
    """Rows without a value: null, NaN, a blank string, or an empty list."""
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


def _one(missing: int) -> str:
    return "one value alone" + (", or none" if missing else "")


def _unless_one(column: pa.ChunkedArray, missing: int, found: Guess) -> Guess:
    return Guess("ignore", _one(missing), missing) if different(column) <= 1 else found


def _of_coded(column: pa.ChunkedArray, missing: int) -> Guess:
    kind = "bools" if pat.is_boolean(column.type) else "categories by their type"
    count = different(column)
    if count <= 1:
        return Guess("ignore", _one(missing), missing)
    return Guess("category", kind if kind == "bools" else f"{kind}, {count:,} values", missing)


def _of_bytes(column: pa.ChunkedArray, missing: int, known: Sequence[ModalitySpec]) -> Guess:
    if pat.is_struct(column.type):
        names = {column.type.field(i).name for i in range(column.type.num_fields)}
        if not (names <= {"bytes", "path"} and "bytes" in names):
            return Guess("ignore", f"a mapping of {', '.join(sorted(names))}, which nothing here reads", missing)
        parts = pa.chunked_array([pc.struct_field(chunk, "bytes") for chunk in some(column, LOOKED_AT).chunks])
    else:
        parts = some(column, LOOKED_AT)
    heads = [value[:_FIRST_BYTES] for value in parts.to_pylist() if value]
    return _by_heads(heads, missing, known, "bytes") or Guess("ignore", "bytes of no kind that is known", missing)


def _by_heads(heads: Sequence[bytes], missing: int, known: Sequence[ModalitySpec], what: str) -> Guess | None:
    for spec in known:
        patterns = [re.compile(pattern, re.DOTALL) for pattern in spec.magic]
        fits = sum(any(pattern.match(head) for pattern in patterns) for head in heads)
        if heads and fits > 0.9 * len(heads):
            return Guess(spec.name, f"{what} that begin as {spec.name} files do", missing)
    return None


def _of_lists(column: pa.ChunkedArray, missing: int, what: str = "lists") -> Guess:
    lengths = np.concatenate(
        [pc.list_value_length(piece).drop_null().to_numpy(zero_copy_only=False) for piece in pieces(column)]
    )
    inner = column.type.value_type
    if not lengths.size or not lengths.any():
        return Guess("ignore", "all lists are empty", len(column))
    if is_list(inner):
        return Guess("series", f"{what} of lists", missing)
    if is_text(inner) or pat.is_dictionary(inner):
        return Guess("tags", f"{what} of strings", missing)
    if not is_number(inner):
        return Guess("ignore", f"{what} of Arrow's type {inner}, which nothing here reads", missing)
    if lengths.min() == lengths.max():
        return Guess("numbers", f"{what} of {lengths.max():,} numbers each", missing)
    return Guess("series", f"{what} of {lengths.min():,} to {lengths.max():,} numbers", missing)


def _of_numbers(name: str, column: pa.ChunkedArray, missing: int) -> Guess:
    ends = pc.min_max(column).as_py()
    if ends["min"] == ends["max"]:
        return Guess("ignore", _one(missing), missing)
    seen = [value for value in some(column).to_pylist() if math.isfinite(value)]
    fractions = any(value % 1 for value in seen)
    if not fractions and not pat.is_integer(column.type):
        values = forms.numbers(column)
        known = values[np.isfinite(values)]
        fractions = not (known.size and np.abs(known).max() < 2**53 and (known == np.floor(known)).all())
    if fractions:
        return Guess("number", "numbers", missing)
    return _of_whole(name, column, [int(value) for value in seen], missing)


def _of_whole(name: str, column: pa.ChunkedArray, seen: Sequence[int], missing: int) -> Guess:
    """What a column of whole numbers is, be they numbers or strings."""
    rows = len(column) - missing
    count = different(column)
    unique = count == rows
    found = _whole_by_name(name, column, seen, rows=rows, count=count)
    if found is None:
        digits = {len(str(abs(value))) for value in seen}
        if (min(digits) >= 9 and len(digits) <= 2) or max(abs(value) for value in seen) > 2**53:
            long = f"whole numbers of {min(digits)} digits and more"
            found = ("ignore", f"{long}, all different") if unique else ("category", f"{long}, which repeat")
        elif count <= FEW:
            found = ("category", f"{count} different whole numbers")
        elif words.says_code(name) and count <= rows / 2:
            found = ("category", f"whole numbers named as codes, {count:,} values")
        else:
            found = ("number", "whole numbers")
    kind, reason = found
    return Guess(kind, reason, missing)


def _whole_by_name(
    name: str, column: pa.ChunkedArray, seen: Sequence[int], *, rows: int, count: int
) -> tuple[str, str] | None:
    if count == rows and rows > 2:
        if rows == len(column) and _rises(column):
            return "ignore", "row numbers: whole, all different, rising without gaps"
        if words.says_id(name):
            return "ignore", "an identifier by its name: whole numbers, all different"
    low, high = forms.SECONDS
    if words.says_time(name):
        for scale, what in ((1, "seconds"), (1000, "thousandths of a second")):
            if sum(low * scale <= value <= high * scale for value in seen) > MOST * len(seen):
                return "date", f"{what} since 1970, by size and name"
    if count > FEW:
        texts = pa.array([str(value) for value in seen])
        if (~np.isnat(forms.dates(pa.chunked_array([texts]))) & _eight(seen)).mean() > MOST:
            return "date", "whole numbers of year, month and day"
    return None


def _eight(seen: Sequence[int]) -> np.ndarray:
    return np.array([10**7 <= value < 10**8 for value in seen])


def _rises(column: pa.ChunkedArray) -> bool:
    values = forms.numbers(column)
    return bool((np.diff(values) == 1).all())


class _Strings:
    """A column of strings: what is counted in all of it, and what is seen in some of it.

    Args:
        name: of the column.
        column: [N].
        missing: rows that are null or blank.
    """

    def __init__(self, name: str, column: pa.ChunkedArray, missing: int) -> None:
        self.name = name
        self.column = column
        self.missing = missing
        self.seen = [text.strip() for text in strings(some(column))]
        self.rows = len(column) - missing
        self.count = different(column) - self._blanks()

    def _blanks(self) -> int:
        """Different strings that are blank."""
        if self.missing == self.column.null_count:
            return 0
        blank = [piece.filter(pc.invert(pc.match_substring_regex(piece, r"\S"))) for piece in pieces(self.column)]
        return len(np.unique(np.concatenate([hashes(pa.chunked_array([part])) for part in blank])))

    def share(self, fits: Iterable[bool]) -> float:
        """Of the values seen, how many fit."""
        return sum(fits) / max(1, len(self.seen))

    def guess(self, known: Sequence[ModalitySpec], files: Path | None, *, outside: bool) -> Guess:
        if self.count <= 1:
            return Guess("ignore", _one(self.missing), self.missing)
        return (
            self.of_encoded(known)
            or self.of_files(known, files, outside=outside)
            or self.of_lists()
            or self.of_dates()
            or self.of_numbers()
            or self.of_words()
        )

    def of_encoded(self, known: Sequence[ModalitySpec]) -> Guess | None:
        """Files that stand in the cells as data URIs or base64."""
        heads = []
        for text in self.seen[:LOOKED_AT]:
            begin = _DATA.match(text)
            body = text[begin.end() :] if begin else text
            if begin or (len(text) >= _LONG and _BASE64.fullmatch(text[: _LONG * 2].rstrip("="))):
                head = body[: _FIRST_BYTES * 4 // 3 // 4 * 4].replace("-", "+").replace("_", "/")
                with contextlib.suppress(binascii.Error, ValueError):  # then it is no base64
                    heads.append(base64.b64decode(head + "=" * (-len(head) % 4)))
        if len(heads) <= 0.9 * min(len(self.seen), LOOKED_AT):
            return None
        return _by_heads(heads, self.missing, known, "base64")

    def of_files(self, known: Sequence[ModalitySpec], files: Path | None, *, outside: bool) -> Guess | None:
        """Names of files of one kind."""
        ends = [_end(text) for text in self.seen]
        for spec in known:
            if sum(end in spec.extensions for end in ends) > 0.9 * len(self.seen):
                named = [text for text, end in zip(self.seen, ends, strict=True) if end in spec.extensions]
                return self._looked_for(spec.name, named, files, outside=outside)
        return None

    def _looked_for(self, kind: str, named: list[str], files: Path | None, *, outside: bool) -> Guess:
        looked = [named[i] for i in np.linspace(0, len(named) - 1, min(LOOKED_AT, len(named))).astype(int)]
        states = [located(text, files or Path(), outside=outside)[1] for text in looked]
        there = states.count("file")
        reason = f"names of {kind} files; {there:,} of {len(looked):,} looked at are there"
        if there:
            return Guess(kind, reason, self.missing)
        folder = "the folder here" if files is None else f"the folder {files}"
        if "remote" in states:
            what, remedy = "of the web or a store, and nothing is fetched", "download them"
        elif "outside" in states:
            what, remedy = f"outside {folder}", "write --outside, or another --files DIR"
        else:
            what, remedy = f"none of which is in {folder}", "write --files DIR, the folder where they are"
        problem = (
            f"column {self.name} names {kind} files, as {looked[0]!r:.80}, {what}: "
            f"{remedy}, or --column {self.name}=ignore"
        )
        return Guess(kind, reason, self.missing, problem)

    def of_lists(self) -> Guess | None:
        """Lists that strings hold as JSON."""
        if self.share(forms.is_list(text) for text in self.seen) <= MOST:
            return None
        found = [value for value in forms.listed(self.seen) if value is not None]
        if len(found) <= MOST * len(self.seen):
            return None
        try:
            column = pa.chunked_array([pa.array(found)])
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return None  # lists of mixed values: read as what else they are
        return replace(_of_lists(column, self.missing, "lists as JSON"), missing=self.missing)

    def of_dates(self) -> Guess | None:
        """Dates, year first or in one of the two other orders."""
        texts = pa.chunked_array([pa.array(self.seen)])
        if self.share(bool(re.match(r"\d{1,4}[-/.]?\d", text)) for text in self.seen) <= MOST:
            return None
        patterns = re.compile(f"{forms.YEAR_FIRST}|{forms.DIGITS.replace('(?P<', '(?P<a')}")
        if self.share(bool(patterns.match(text)) for text in self.seen) > MOST:
            moments = forms.dates(texts)
            if (~np.isnat(moments)).mean() > MOST:
                return Guess("date", "dates, year first", self._undated("date"))
            return None
        first, second = (forms.dates(texts, f"date:{order}") for order in ("dayfirst", "monthfirst"))
        as_day, as_month = ((~np.isnat(moments)).mean() for moments in (first, second))
        if max(as_day, as_month) <= MOST:
            return None
        if as_day == as_month and (np.isnat(first) == np.isnat(second)).all():
            problem = (
                f"column {self.name} has dates with the day or the month first, as {self.seen[0]!r}, and no value "
                f"shows which: --column {self.name}=date:dayfirst, or --column {self.name}=date:monthfirst"
            )
            return Guess("date:dayfirst", "dates, the day or the month first", self.missing, problem)
        kind, order = ("date:dayfirst", "day") if as_day > as_month else ("date:monthfirst", "month")
        return Guess(kind, f"dates, {order} first", self._undated(kind))

    def _undated(self, kind: str) -> int:
        return int(np.isnat(forms.dates(self.column, kind)).sum())

    def of_numbers(self) -> Guess | None:
        """Numbers in one form, and digits that are none."""
        zeros = self.share(bool(_ZEROS.fullmatch(text)) for text in self.seen)
        if zeros > 0.005 and self.share(text.isdecimal() for text in self.seen) > MOST:
            if self.count == self.rows:
                return Guess("ignore", "digits with leading zeros, all different", self.missing)
            return Guess("category", f"digits with leading zeros, {self.count:,} values", self.missing)
        form = forms.form_of(self.seen)
        if form is None:
            return None
        values = forms.numbers(self.column, form)
        unread = np.isnan(values)
        if unread.all():
            return None  # what looks like numbers is beyond any
        missing = int(unread.sum())
        read = forms.numbers(_column(self.seen), form)
        signs = tuple(sorted({text for text, value in zip(self.seen, read, strict=True) if np.isnan(value)}))
        said = f"; {', '.join(map(repr, signs[:5]))} read as missing" if signs else ""
        if form.whole and form.style == "plain" and not form.unit:
            whole = [int(text) for text in self.seen if _WHOLE.fullmatch(text)]
            column = pa.chunked_array(
                [
                    pc.if_else(pa.array(~unread[start : start + len(piece)]), piece, pa.scalar(None, piece.type))
                    for start, piece in _with_starts(self.column)
                ]
            )
            found = _of_whole(self.name, column, whole, missing)
            return replace(found, reason=found.reason + said, absent=signs)
        return Guess("number", f"numbers{f': {form.words}' if form.words else ''}{said}", missing, absent=signs)

    def of_words(self) -> Guess:
        """Texts, categories and identifiers."""
        length = sum(map(words.words_of, self.seen)) / len(self.seen)
        rows, count = self.rows, self.count
        few = count <= min(50, rows / 2)
        if count > 0.02 * rows and (length >= 5 or (length >= 2.5 and not few)):
            return Guess("text", f"{length:.1f} words each, {_percent(count, rows)} different", self.missing)
        if few:
            return Guess("category", f"{count:,} different strings", self.missing)
        if count > 0.98 * rows and self.share(words.is_code(text) for text in self.seen) > MOST:
            reason = f"an identifier: {_percent(count, rows)} different, single words with digits"
            return Guess("ignore", reason, self.missing)
        if count > rows / 2 and length >= 1.5:
            return Guess("text", f"{length:.1f} words each, {_percent(count, rows)} different", self.missing)
        return Guess("category", f"{count:,} different strings", self.missing)


def _end(name: str) -> str:
    """The end of a file's name with its dot, in lower case; of an address, that of its path."""
    if "://" in name:
        name = re.split(r"[?#]", name, maxsplit=1)[0]
    return "." + name.rpartition(".")[2].lower()


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return "100 %" if part == whole else f"{min(share, 99.9):.1f} %"


def _with_starts(column: pa.ChunkedArray) -> Iterator[tuple[int, pa.Array]]:
    """Each piece, with the number of its first row."""
    start = 0
    for piece in pieces(column):
        yield start, piece
        start += len(piece)


def _column(texts: Sequence[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts)])
