"""What a column of strings is, by patterns: files, lists, dates, numbers, texts, categories, identifiers.

The first rule that fits wins, in the order of `Strings.guess`.

Axes: N rows.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.plugin import ModalitySpec
from mmkit.sources import dates, words
from mmkit.sources.by_type import FIRST_BYTES, empty_in, guess_heads, guess_lists, one_value
from mmkit.sources.guess import LOOKED_AT, Guess
from mmkit.sources.hashes import different, hashes, pieces, with_starts
from mmkit.sources.lists import is_json_list, listed
from mmkit.sources.numbers import MOST, form_of, numbers
from mmkit.sources.paths import located
from mmkit.sources.sampling import some, strings
from mmkit.sources.whole_numbers import guess_whole

_LONG = 64  # the shortest base64 that is taken for a file
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+(;[\w=.-]+)*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_ZEROS = re.compile(r"0[0-9]+")
_DIGITS = 400  # of more no number is made, and Python refuses those of thousands
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.0*)?")


class Strings:
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
        """The first rule that fits."""
        if self.count <= 1:
            return Guess("ignore", one_value(self.missing), self.missing)
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
                head = body[: FIRST_BYTES * 4 // 3 // 4 * 4].replace("-", "+").replace("_", "/")
                with contextlib.suppress(binascii.Error, ValueError):  # then it is no base64
                    heads.append(base64.b64decode(head + "=" * (-len(head) % 4)))
        if len(heads) <= 0.9 * min(len(self.seen), LOOKED_AT):
            return None
        return guess_heads(heads, self.missing, known, "base64")

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
        if self.share(is_json_list(text) for text in self.seen) <= MOST:
            return None
        found = [value for value in listed(self.seen) if value is not None]
        if len(found) <= MOST * len(self.seen):
            return None
        try:
            column = pa.chunked_array([pa.array(found)])
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return None  # lists of mixed values: read as what else they are
        guessed = guess_lists(column, self.missing, "lists as JSON")
        empty = empty_in(self.column) if guessed.kind == "series" else 0
        return replace(guessed, missing=self.missing + empty)

    def of_dates(self) -> Guess | None:
        """Dates, year first, with names of months, or in one of the two other orders."""
        texts = pa.chunked_array([pa.array(self.seen)])
        if (what := self._of_worded_dates()) is not None:
            return Guess("date", what, self._undated("date")) if _are_dates(texts) else None
        if self.share(bool(re.match(r"\d{1,4}[-/.]?\d", text)) for text in self.seen) <= MOST:
            return None
        patterns = re.compile(f"{dates.YEAR_FIRST}|{dates.DIGITS.replace('(?P<', '(?P<a')}")
        if self.share(bool(patterns.match(text)) for text in self.seen) > MOST:
            return Guess("date", "dates, year first", self._undated("date")) if _are_dates(texts) else None
        first, second = (dates.dates(texts, f"date:{order}") for order in ("dayfirst", "monthfirst"))
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

    def _of_worded_dates(self) -> str | None:
        """How the dates are written, where they have words or letters in them."""
        for what, patterns in dates.WORDS.items():
            compiled = [re.compile(pattern) for pattern in patterns]
            if self.share(any(one.match(text) for one in compiled) for text in self.seen) > MOST:
                return what
        return None

    def _undated(self, kind: str) -> int:
        return int(np.isnat(dates.dates(self.column, kind)).sum())

    def of_numbers(self) -> Guess | None:
        """Numbers in one form, and digits that are none."""
        zeros = self.share(bool(_ZEROS.fullmatch(text)) for text in self.seen)
        if zeros > 0.005 and self.share(text.isdecimal() for text in self.seen) > MOST:
            if self.count == self.rows:
                return Guess("ignore", "digits with leading zeros, all different", self.missing)
            return Guess("category", f"digits with leading zeros, {self.count:,} values", self.missing)
        form = form_of(self.seen)
        if form is None:
            return None
        values = numbers(self.column, form)
        unread = np.isnan(values)
        if unread.all():
            return None  # what looks like numbers is beyond any
        missing = int(unread.sum())
        read = numbers(_column(self.seen), form)
        signs = tuple(sorted({text for text, value in zip(self.seen, read, strict=True) if np.isnan(value)}))
        said = f"; {', '.join(map(repr, signs[:5]))} read as missing" if signs else ""
        whole = [int(text.partition(".")[0][:_DIGITS]) for text in self.seen if _WHOLE.fullmatch(text)]
        if whole and form.whole and form.style == "plain" and not form.unit:
            column = pa.chunked_array(
                [
                    pc.if_else(pa.array(~unread[start : start + len(piece)]), piece, pa.scalar(None, piece.type))
                    for start, piece in with_starts(self.column)
                ]
            )
            found = guess_whole(self.name, column, whole, missing)
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


def _are_dates(texts: pa.ChunkedArray) -> bool:
    return bool((~np.isnat(dates.dates(texts))).mean() > MOST)


def _end(name: str) -> str:
    """The end of a file's name with its dot, in lower case; of an address, that of its path."""
    if "://" in name:
        name = re.split(r"[?#]", name, maxsplit=1)[0]
    return "." + name.rpartition(".")[2].lower()


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return "100 %" if part == whole else f"{min(share, 99.9):.1f} %"


def _column(texts: Sequence[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts)])
