"""Numbers as people write them, read from strings: by column, never value by value.

Axes: N rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

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
_SCALES = {"sizes": _SIZES, "many": _MANY}
_SIGN = r"(?:[$€£¥₹]|usd|eur|gbp|chf)"


@dataclass(frozen=True)
class Form:
    """How the numbers of a column are written.

    Args:
        style: "plain", "thousands" (1,234.5) or "comma" (1.234,5).
        unit: what stands beside them: "", "sizes" (KB, MB, ...), "many" (k, m, bn), or one unit in lower case, as
            "%"; of amounts of money "money", or "money" and what else stands there, as "money many".
        share: of the values that are no sign for missing, how many are written so.
        whole: True where none has a fraction but zeros.
    """

    style: str
    unit: str
    share: float
    whole: bool

    @property
    def words(self) -> str:
        """The form, for people."""
        style = {"plain": "", "thousands": "commas between thousands", "comma": "decimal commas"}[self.style]
        money, rest = _parts(self.unit)
        units = {"": "", "%": "percent", "sizes": "sizes in bytes", "many": "k, m and bn"}
        parts = ("amounts of money" if money else "", units.get(rest, f"a unit, {rest}"), style)
        return ", ".join(part for part in parts if part)


def form_of(texts: Iterable[str]) -> Form | None:
    """The one form of most of these strings; None where they are no numbers, or have no one form."""
    seen = [text.strip() for text in texts]
    seen = [text for text in seen if text.lower() not in ABSENT]
    found = [match for match in map(_NUMBER.fullmatch, seen) if match]
    if not found or len(found) < MOST * len(seen):
        return None
    unit = _one_unit(Counter(map(_written, found)))
    digits = [match["digits"] for match in found]
    for style, pattern in _STYLES.items():
        fitting = [text for text in digits if pattern.fullmatch(text)]
        share = len(fitting) / len(seen)
        if unit is None or share < MOST:
            continue
        if style == "comma":
            whole = not any("," in text for text in fitting)
        else:
            whole = not any(text.partition(".")[2].strip("0") or "e" in text.lower() for text in fitting)
        return Form(style, unit, share, whole)
    return None


def _parts(unit: str) -> tuple[bool, str]:
    """Whether the unit of a form is one of money, and what else it is."""
    first, _, rest = unit.partition(" ")
    return (True, rest) if first == "money" else (False, unit)


def _written(match: re.Match[str]) -> tuple[bool, str]:
    """Whether a number is an amount of money, and what else stands beside it."""
    unit = match["unit"].lower()
    sign = next((one for one in _MONEY if unit.endswith(one)), "")
    if sign and unit.removesuffix(sign) in _MANY:
        return True, unit.removesuffix(sign)
    return bool(match["money"] or match["before"]), unit


def _one_unit(units: Counter[tuple[bool, str]]) -> str | None:
    total = sum(units.values())
    priced = Counter({unit: count for (money, unit), count in units.items() if money})
    bare = Counter({unit: count for (money, unit), count in units.items() if not money})
    if priced.total() > MOST * total or (priced and set(bare) <= {""}):
        priced[""] += bare[""]
        if sum(priced[unit] for unit in _MANY) > MOST * total:  # of money, k and m are thousands and millions
            return "money many" if any(priced[unit] for unit in _MANY if unit) else "money"
        rest = _one_scale(priced, total)
        return rest and f"money {rest}"
    return _one_scale(bare, total)


def _one_scale(units: Counter[str], total: int) -> str | None:
    """The one unit, or the scale that units are of; None where they are neither.

    Of units that differ by a factor, the most frequent one alone would read the others wrongly.
    """
    one = next((unit for unit, count in units.items() if count > MOST * total), None)
    for name, scale in _SCALES.items() if one != "" else ():
        seen = {unit for unit in scale if units[unit]}
        alone = len(seen) == 1 or (one == "m" and seen == {"", "m"})  # metres, some of them without
        if sum(units[unit] for unit in seen) > MOST * total and not alone:
            return name
    return one


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
        parts = [plain_numbers(piece) for piece in pieces(column)]
    return np.concatenate(parts) if parts else np.zeros(0)


def plain_numbers(array: pa.Array) -> np.ndarray:
    """The numbers of an array of Arrow's numbers or bools, [N] float64; NaN where missing, or where it holds others."""
    if not is_number(array.type):
        return np.full(len(array), np.nan)
    if pat.is_boolean(array.type):
        array = array.cast(pa.int8())
    return pc.fill_null(array.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)


def _from_strings(array: pa.Array, form: Form | None) -> np.ndarray:
    if form is None:
        return np.full(len(array), np.nan)
    return by_value(array, partial(_in_form, form=form), np.nan)


def by_value(array: pa.Array, read: Callable[[pa.Array], np.ndarray], gap: object) -> np.ndarray:
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
        money, rest = _parts(form.unit)
        scale_of = _SCALES.get(rest, {rest: 0})
        sign = f"{_SIGN}?" if money else ""
        for unit, power in scale_of.items():
            ends = pc.match_substring_regex(pc.fill_null(text, ""), rf"[\d.]\s*{re.escape(unit)}{sign}$")
            scale[ends.to_numpy(zero_copy_only=False)] = 1000.0**power
        # What stands beside a number and is not of the form stays, so that the number is none.
        units = "|".join(re.escape(unit) for unit in scale_of)
        text = pc.replace_substring_regex(text, rf"^([+-]?){sign}\s*", r"\1")
        text = pc.replace_substring_regex(text, rf"([\d.,])\s*(?:{units})?{sign}$", r"\1")
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
