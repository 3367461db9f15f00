"""Dates and times as people and programs write them, read from strings: by column, never value by value.

Axes: N rows.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from mmkit.sources.hashes import pieces
from mmkit.sources.numbers import by_value, plain_numbers
from mmkit.sources.types import is_text, usual

_CLOCK = r"(?:[T ,]\s*(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?P<f>[.,]\d{1,9})?)?\s*(?P<half>[AaPp][Mm])?)?"
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?"
YEAR_FIRST = rf"^(?P<y>\d{{4}})[-/.](?P<m>\d{{1,2}})(?:[-/.](?P<d>\d{{1,2}}){_CLOCK}{_ZONE})?$"
DIGITS = r"^(?P<y>(?:1[5-9]|20|21)\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])$"
_DAY_FIRST = rf"^(?P<d>\d{{1,2}})[-/.](?P<m>\d{{1,2}})[-/.](?P<y>\d{{4}}|\d{{2}}){_CLOCK}{_ZONE}$"
_HALF = ("january", "february", "march", "april", "may", "june")
_MONTHS = (*_HALF, "july", "august", "september", "october", "november", "december")
_NAME = "(?P<name>(?i:" + "|".join(f"{month[:3]}(?:{month[3:]})?" for month in _MONTHS).replace("sep(", "sept?(") + "))"
_DAY = r"(?P<d>\d{1,2})(?:st|nd|rd|th)?"
WORDS = {
    "dates with names of months": (
        rf"^{_NAME}[. /-]*{_DAY}[, /-]+(?P<y>\d{{4}}){_CLOCK}{_ZONE}$",
        rf"^(?:[A-Za-z]{{3,9}},?\s+)?{_DAY}[. /-]*{_NAME}[., /-]*(?P<y>\d{{4}}|\d{{2}}){_CLOCK}{_ZONE}$",
        rf"^{_NAME}[., /-]*(?P<y>\d{{4}})$",
    ),
    "quarters of years": (r"^(?P<y>\d{4})[ /-]?[Qq](?P<q>[1-4])$", r"^[Qq](?P<q>[1-4])[ /-]?(?P<y>\d{4})$"),
}
"""How dates are written that have words or letters in them, by what they are; the parts are named."""
_DECIMAL = r"^\d{4}\.\d{1,2}$"  # a number, and no month of a year
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
        kind: "date" (year first, or with the name of the month), "date:dayfirst" or "date:monthfirst".

    Returns:
        [N] datetime64[ms], in UTC where a zone is written; NaT where a value is missing, or is no date.
    """
    parts = [_moments(piece, kind) for piece in pieces(usual(column))]
    return np.concatenate(parts) if parts else np.zeros(0, "datetime64[ms]")


def _moments(array: pa.Array, kind: str) -> np.ndarray:
    form = array.type
    if pat.is_dictionary(form):
        return by_value(array, partial(_from_texts, kind=kind), "NaT")
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
        return by_value(array, partial(_from_texts, kind=kind), "NaT")
    values = plain_numbers(array)
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
        other = pc.if_else(pc.match_substring_regex(other, _DECIMAL), pa.scalar(None, pa.string()), other)
        late = _by_pattern(other, YEAR_FIRST)
        if np.isnat(late).any() and pc.any(pc.match_substring_regex(other, "[A-Za-z]")).as_py():
            for pattern in (pattern for patterns in WORDS.values() for pattern in patterns):
                late = np.where(np.isnat(late), _by_pattern(other, pattern), late)
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
    if "name" in names:
        short = pc.utf8_lower(pc.utf8_slice_codeunits(pc.struct_field(parts, "name"), 0, 3))
        place = pc.index_in(short, pa.array([name[:3] for name in _MONTHS]))
        month = pc.fill_null(place, -1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    elif "q" in names:
        month = 3 * part("q") - 2
    year = np.where(year < 100, year + np.where(year < 70, 2000, 1900), year)
    if "d" not in names:
        day = np.where(known, 1, day)
    else:  # 2024-05 is its first day
        day = np.where(known & (day == 0) & ("h" in names) & _blank(parts, "d", names), 1, day)
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
