"""Numbers, dates and lists as people write them, read from strings: by column, never value by value.

Axes: N rows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.sources.hashes import pieces
from mmkit.sources.sampling import some, strings
from mmkit.sources.types import is_number, is_text, usual

MOST = 0.95
"""A column has a form where more than this share of its values has it."""

ABSENT = frozenset(
    ("", "na", "n/a", "#n/a", "n.a.", "nan", "none", "null", "nil", "?", "-", "--", ".", "missing", "unknown", "\\n")
)
"""Strings that mean "missing" in a column of numbers, in lower case."""

_NUMBER = re.compile(
    r"(?:[+-]?|[+-]?(?P<money>[$€£¥₹]|usd|eur|gbp|chf)\s*|(?P<before>[$€£¥₹]|usd|eur|gbp|chf)\s*[+-])"
    r"(?P<digits>\d[\d.,]*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)\s*(?P<unit>[%€$£¥₹a-zµ°]{0,8})",
    re.IGNORECASE | re.ASCII,
)
_STYLES = {
    "plain": re.compile(r"(0|[1-9]\d*)?(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII),
    "thousands": re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?|(0|[1-9]\d*)(\.\d*)?|\.\d+"),
    "comma": re.compile(r"[1-9]\d{0,2}(\.\d{3})+(,\d*)?|(0|[1-9]\d*)(,\d*)?"),
}
_MONEY = frozenset("$€£¥₹") | {"usd", "eur", "gbp", "chf"}
_SIZES = {"b": 0, "kb": 1, "mb": 2, "gb": 3, "tb": 4}
_MANY = {"": 0, "k": 1, "m": 2, "bn": 3}


@dataclass(frozen=True)
class Form:
    """How the numbers of a column are written.

    Args:
        style: "plain", "thousands" (1,234.5) or "comma" (1.234,5).
        unit: what stands beside them: "", "money", "%", "sizes" (KB, MB, ...), "many" (k, m, bn), or one unit in lower
            case.
        share: of the values that are no sign for missing, how many are written so.
        whole: True where none has a fraction.
    """

    style: str
    unit: str
    share: float
    whole: bool

    @property
    def words(self) -> str:
        """The form, for people."""
        style = {"plain": "", "thousands": "commas between thousands", "comma": "decimal commas"}[self.style]
        units = {"": "", "money": "amounts of money", "%": "percent", "sizes": "sizes in bytes", "many": "k, m and bn"}
        return ", ".join(part for part in (units.get(self.unit, f"a unit, {self.unit}"), style) if part)


def form_of(texts: Iterable[str]) -> Form | None:
    """The one form of most of these strings; None where they are no numbers, or have no one form."""
    seen = [text.strip() for text in texts]
    seen = [text for text in seen if text.lower() not in ABSENT]
    found = [match for match in map(_NUMBER.fullmatch, seen) if match]
    if not found or len(found) < MOST * len(seen):
        return None
    units = Counter("money" if match["money"] or match["before"] else _unit(match["unit"]) for match in found)
    unit = _one_unit(units)
    digits = [match["digits"] for match in found]
    for style, pattern in _STYLES.items():
        fitting = [text for text in digits if pattern.fullmatch(text)]
        share = len(fitting) / len(seen)
        if unit is None or share < MOST:
            continue
        if style == "comma":
            whole = not any("," in text for text in fitting)
        else:
            whole = not any("." in text or "e" in text.lower() for text in fitting)
        return Form(style, unit, share, whole)
    return None


def _unit(text: str) -> str:
    return "money" if text.lower() in _MONEY else text.lower()


def _one_unit(units: Counter[str]) -> str | None:
    total = sum(units.values())
    if set(units) <= {"", "money"} and units["money"]:
        return "money"
    most, count = units.most_common(1)[0]
    if count > MOST * total:
        return most
    if sum(units[unit] for unit in _SIZES) > MOST * total:
        return "sizes"
    if sum(units[unit] for unit in _MANY) > MOST * total:
        return "many"
    return None


def numbers(column: pa.ChunkedArray, form: Form | None = None) -> np.ndarray:
    """The numbers of a column that was read as "number".

    Whatever Arrow calls a number, a bool or a decimal; and strings in one form: `1234.5`, `$1,234.50`, `45 %` (which is
    45), `3,14`, `12 KB` (which is 12,000).

    Args:
        column: [N].
        form: how its strings are written, where the column is a part of another; None looks at the column itself.

    Returns:
        [N] float64; NaN where a value is missing, or is no number.
    """
    column = usual(column)
    kind = column.type
    if pat.is_dictionary(kind) or is_text(kind):
        form = form or form_of(strings(some(column)))
        parts = [_from_strings(piece, form) for piece in pieces(column)]
    else:
        parts = [_plain_numbers(piece) for piece in pieces(column)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _plain_numbers(array: pa.Array) -> np.ndarray:
    if not is_number(array.type):
        return np.full(len(array), np.nan)
    if pat.is_boolean(array.type):
        array = array.cast(pa.int8())
    return pc.fill_null(array.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)


def _from_strings(array: pa.Array, form: Form | None) -> np.ndarray:
    if form is None:
        return np.full(len(array), np.nan)
    return _by_value(array, partial(_in_form, form=form), np.nan)


def _by_value(array: pa.Array, read: Callable[[pa.Array], np.ndarray], gap: object) -> np.ndarray:
    """What `read` gives of an array of strings; each different one is read once, where values repeat."""
    known = pat.is_dictionary(array.type)
    coded = array if known else array.dictionary_encode()
    if not known and 2 * len(coded.dictionary) > len(array):
        return read(array)
    values = read(coded.dictionary)
    table = np.append(values, np.array([gap], values.dtype))  # index -1 is the last: missing
    return table[pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)]


def _in_form(array: pa.Array, form: Form) -> np.ndarray:
    text = pc.utf8_lower(pc.utf8_trim_whitespace(array.cast(pa.string())))
    scale = np.ones(len(array))
    if form.unit:
        for unit, power in {"sizes": _SIZES, "many": _MANY}.get(form.unit, {}).items():
            ends = pc.match_substring_regex(pc.fill_null(text, ""), rf"[\d.]\s*{unit}$")
            scale[ends.to_numpy(zero_copy_only=False)] = 1000.0**power
        text = pc.replace_substring_regex(text, r"^([+-]?)(?:[$€£¥₹]|usd|eur|gbp|chf)?\s*", r"\1")
        text = pc.replace_substring_regex(text, r"([\d.,])\s*[%€$£¥₹a-zµ°]{0,8}$", r"\1")
    # Only what is written in the column's style is read: in a column of plain numbers, `3,14` is none.
    pattern = {
        "plain": r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$",
        "thousands": r"^[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?$",
        "comma": r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?$",
    }[form.style]
    fits = pc.and_(pc.match_substring_regex(text, pattern), pc.match_substring_regex(text, r"\d"))
    text = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    if form.style == "thousands":
        text = pc.replace_substring(text, ",", "")
    elif form.style == "comma":
        text = pc.replace_substring(pc.replace_substring(text, ".", ""), ",", ".")
    text = pc.replace_substring_regex(text, r"^\+|\.$", "")
    text = pc.replace_substring_regex(text, r"\.(e|$)", r"\1")
    return pc.fill_null(text.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False) * scale


_CLOCK = r"(?:[T ,]\s*(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?P<f>[.,]\d{1,9})?)?\s*(?P<half>[AaPp][Mm])?)?"
_ZONE = r"\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?"
YEAR_FIRST = rf"^(?P<y>\d{{4}})[-/.](?P<m>\d{{1,2}})(?:[-/.](?P<d>\d{{1,2}}){_CLOCK}{_ZONE})?$"
DIGITS = r"^(?P<y>(?:1[5-9]|20|21)\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])$"
_DAY_FIRST = rf"^(?P<d>\d{{1,2}})[-/.](?P<m>\d{{1,2}})[-/.](?P<y>\d{{4}}|\d{{2}}){_CLOCK}{_ZONE}$"
_MONTH_FIRST = _DAY_FIRST.replace("<d>", "<x>").replace("<m>", "<d>").replace("<x>", "<m>")
PATTERNS = {"date": YEAR_FIRST, "date:dayfirst": _DAY_FIRST, "date:monthfirst": _MONTH_FIRST}
"""How dates are written, by kind; the parts are named."""
_PLAIN = r"^\d{4}-[01]\d-[0-3]\d([T ][0-2]\d:[0-5]\d(:[0-5]\d)?)?$"
SECONDS = (3e8, 2.2e9)
"""Seconds since 1970 that are likely moments: from mid-1979 to 2039."""


def dates(column: pa.ChunkedArray, kind: str = "date") -> np.ndarray:
    """The moments of a column that was read as a date.

    Args:
        column: [N] dates and times of Arrow, whole numbers (seconds since 1970, thousandths of them, or digits as in
            20240501), or strings.
        kind: "date" (year first), "date:dayfirst" or "date:monthfirst".

    Returns:
        [N] datetime64[ms], in UTC where a zone is written; NaT where a value is missing, or is no date.
    """
    parts = [_moments(piece, kind) for piece in pieces(usual(column))]
    return np.concatenate(parts) if parts else np.zeros(0, "datetime64[ms]")


def _moments(array: pa.Array, kind: str) -> np.ndarray:
    form = array.type
    if pat.is_dictionary(form):
        return _by_value(array, partial(_from_texts, kind=kind), "NaT")
    if pat.is_time(form):
        unit = form.unit
        plain = pc.fill_null(array.cast(pa.int32() if pat.is_time32(form) else pa.int64()).cast(pa.int64()), -1)
        counts = plain.to_numpy(zero_copy_only=False)
        found = counts.astype(f"timedelta64[{unit}]") + np.datetime64(0, unit)
        found[counts < 0] = np.datetime64("NaT")
        return found.astype("datetime64[ms]")
    if pat.is_temporal(form) and not (pat.is_duration(form) or pat.is_interval(form)):
        return array.cast(pa.timestamp("ms"), safe=False).to_numpy(zero_copy_only=False).astype("datetime64[ms]")
    if is_text(form):
        return _by_value(array, partial(_from_texts, kind=kind), "NaT")
    values = _plain_numbers(array)
    if np.nanmax(np.abs(values), initial=0) < 1e8:  # digits, as in 20240501
        texts = pa.array(values, from_pandas=True).cast(pa.int64(), safe=False).cast(pa.string())
        return _from_texts(texts, kind)
    return _since_1970(values)


def _since_1970(values: np.ndarray) -> np.ndarray:
    middle = np.nanmedian(np.abs(values)) if np.isfinite(values).any() else 0
    thousandths = values * (1 if middle > SECONDS[1] else 1000)
    found = np.full(len(values), np.datetime64("NaT", "ms"))
    known = np.isfinite(thousandths) & (np.abs(thousandths) < 1e15)
    found[known] = np.round(thousandths[known]).astype(np.int64).astype("datetime64[ms]")
    return found


def _from_texts(array: pa.Array, kind: str) -> np.ndarray:
    text = pc.utf8_trim_whitespace(array.cast(pa.string()))
    if kind != "date":
        return _by_pattern(text, PATTERNS[kind])
    found, rest = _by_arrow(text)
    if rest.any():
        other = text.filter(pa.array(rest))
        late = _by_pattern(other, YEAR_FIRST)
        if np.isnat(late).any():
            digits = _by_pattern(other, DIGITS)
            late = np.where(np.isnat(late), digits, late)
        if np.isnat(late).all() and rest.all():
            values = pc.if_else(pc.match_substring_regex(other, r"^\d{9,13}$"), other, pa.scalar(None, pa.string()))
            late = _since_1970(pc.fill_null(values.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False))
        found[rest] = late
    return found


def _by_arrow(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Dates in the one form that Arrow reads by itself, ten times as fast; and which texts are left, [N] bool."""
    plain = pc.match_substring_regex(text, _PLAIN)
    masked = pc.if_else(plain, text, pa.scalar(None, pa.string()))
    try:
        moments = masked.cast(pa.timestamp("ms")).to_numpy(zero_copy_only=False).astype("datetime64[ms]")
    except pa.ArrowInvalid:  # one is of no calendar, like the 30th of February
        return np.full(len(text), np.datetime64("NaT", "ms")), text.is_valid().to_numpy(zero_copy_only=False)
    return moments, (text.is_valid().to_numpy(zero_copy_only=False)) & np.isnat(moments)


def _by_pattern(text: pa.Array, pattern: str) -> np.ndarray:
    parts = pc.extract_regex(text, pattern)
    known = pc.is_valid(parts).to_numpy(zero_copy_only=False)
    names = {parts.type.field(i).name for i in range(parts.type.num_fields)}

    def part(name: str) -> np.ndarray:
        if name not in names:
            return np.zeros(len(text), np.int64)
        field = pc.struct_field(parts, name)
        field = pc.if_else(pc.equal(field, ""), "0", field)
        return pc.fill_null(field.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)

    year, month, day = part("y"), part("m"), part("d")
    year = np.where(year < 100, year + np.where(year < 70, 2000, 1900), year)
    day = np.where(known & (day == 0) & ("h" in names) & _blank(parts, "d", names), 1, day)  # 2024-05 is its first day
    good = known & (month >= 1) & (month <= 12) & (day >= 1)
    first = ((np.where(good, year, 1970) - 1970) * 12 + np.where(good, month - 1, 0)).astype("datetime64[M]")
    length = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    good &= day <= length
    hour, minute, second = part("h"), part("mi"), part("s")
    if "half" in names:
        half = pc.utf8_lower(pc.fill_null(pc.struct_field(parts, "half"), ""))
        hour = np.where(_is(half, "pm") & (hour < 12), hour + 12, np.where(_is(half, "am") & (hour == 12), 0, hour))
    good &= (hour < 24) & (minute < 60) & (second < 61)
    moment = first.astype("datetime64[D]") + (day - 1)
    moment = moment.astype("datetime64[ms]") + (hour * 3_600_000 + minute * 60_000 + second * 1000)
    if "f" in names:
        field = pc.replace_substring(pc.fill_null(pc.struct_field(parts, "f"), ""), ",", ".")
        field = pc.replace_substring_regex(field, r"^$", ".0")
        moment += np.floor(
            np.nan_to_num(pc.binary_join_element_wise("0", field, "").cast(pa.float64()).to_numpy(zero_copy_only=False))
            * 1000
        ).astype(np.int64)
    if "zone" in names:
        moment -= _offset(pc.fill_null(pc.struct_field(parts, "zone"), ""))
    return np.where(good, moment, np.datetime64("NaT", "ms"))


def _blank(parts: pa.Array, name: str, names: set[str]) -> np.ndarray:
    if name not in names:
        return np.zeros(len(parts), bool)
    return _is(pc.fill_null(pc.struct_field(parts, name), "-"), "")


def _is(text: pa.Array, word: str) -> np.ndarray:
    return pc.equal(text, word).to_numpy(zero_copy_only=False)


def _offset(zone: pa.Array) -> np.ndarray:
    """Milliseconds east of Greenwich, [N]."""
    digits = pc.replace_substring_regex(zone, r"[^\d]", "")
    count = pc.replace_substring_regex(digits, r"^$", "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
    sign = np.where(pc.starts_with(zone, "-").to_numpy(zero_copy_only=False), -1, 1)
    return sign * (count // 100 * 60 + count % 100) * 60_000


def is_list(text: str) -> bool:
    """Whether a string looks like a list of JSON."""
    return text[:1] == "[" and text[-1:] == "]"


def listed(texts: Sequence[str | None]) -> list[list[Any] | None]:
    """Lists that strings hold as JSON; None where a string is missing or is none."""
    return [_list(text.strip()) if text is not None else None for text in texts]


def _list(text: str) -> list[Any] | None:
    if not is_list(text):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
