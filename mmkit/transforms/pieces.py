"""A text's pieces: words, numbers, signs, and single characters of scripts that write no spaces between words.

Python's own `re` does this in a fraction of the time that a tokenizer with Unicode tables of its own takes; it only has
no classes for scripts and marks, so these are spelt out here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

# Unicode blocks: Chinese, Japanese (kana too), Bopomofo, Yi, Thai, Lao, Khmer, Burmese.
SPACELESS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u3041-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f\u3100-\u312f\u31a0-\u31bf\ua000-\ua4cf"
    "\u0e00-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u19e0-\u19ff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"
)
JOINERS = "\u200c\u200d"


def normal(text: str, *, lowercase: bool, strip_accents: bool) -> str:
    """The text in NFKC: full-width letters are plain ones, an accent is part of its letter, a ligature is letters.

    Args:
        text: any.
        lowercase: so that Apple is apple.
        strip_accents: so that café is cafe. Marks of scripts other than Latin and Greek stay: they are vowels.
    """
    text = unicodedata.normalize("NFKC", text)
    if lowercase:
        text = text.lower()
    if strip_accents:
        text = unicodedata.normalize("NFC", _accents().sub("", unicodedata.normalize("NFD", text)))
    return text


def pieces(text: str) -> list[str]:
    """The pieces of a normalised text, in order; spaces and control characters are left out.

    >>> pieces("don't: 我爱 ハロー")
    ['don', "'", 't', ':', '我', '爱', 'ハ', 'ロー']
    """
    return _pattern().findall(text)


def cut(text: str) -> list[tuple[int, int]]:
    """Where each piece of `pieces` begins and ends.

    >>> cut("don't")
    [(0, 3), (3, 4), (4, 5)]
    """
    return [found.span() for found in _pattern().finditer(text)]


def places(text: str, normalised: str, normalise: Callable[[str], str]) -> list[tuple[int, int]] | None:
    """Of each character of a normalised text, which characters of the text it is made of: start and end.

    The text is normalised letter by letter, each with its marks. None where that gives another length than the whole.

    >>> places("ﬁ x", "fi x", lambda text: unicodedata.normalize("NFKC", text))
    [(0, 1), (0, 1), (1, 2), (2, 3)]
    """
    found: list[tuple[int, int]] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and _joins(text[end]):
            continue
        found += [(start, end)] * len(normalise(text[start:end]))
        start = end
    return found if len(found) == len(normalised) else None


def _joins(letter: str) -> bool:
    """Whether a character is part of the letter before it: a mark, a joiner, or a vowel or an end of Hangul."""
    return unicodedata.category(letter).startswith("M") or letter in JOINERS or "\u1160" <= letter <= "\u11ff"


@lru_cache
def _pattern() -> re.Pattern[str]:
    mark = f"[{_marks()}{JOINERS}]"
    letter = rf"[^\W{SPACELESS}]"
    return re.compile(
        r"[a-zA-Z0-9_]++(?![\x80-\U0010ffff])"  # most words of most texts, found without the long classes below
        rf"|{letter}+(?:{mark}+{letter}*)*"
        rf"|[{SPACELESS}][ー{_marks()}{JOINERS}]*"  # ー lengthens the kana before it
        rf"|[^\s\x00-\x1f\x7f-\x9f]{mark}*"
    )


@lru_cache
def _accents() -> re.Pattern[str]:
    return re.compile("(?<=[A-Za-z\u00c0-\u024f\u0370-\u03ff])[\u0300-\u036f]+")


@lru_cache
def _marks() -> str:
    """All marks of Unicode, as the inside of a character class."""
    marks = [code for code in range(0x300, 0x1E94B) if unicodedata.category(chr(code)).startswith("M")]
    every = set(marks)
    starts = [chr(code) for code in marks if code - 1 not in every]
    ends = [chr(code) for code in marks if code + 1 not in every]
    ranges = "".join(f"{start}-{end}" for start, end in zip(starts, ends, strict=True))
    return ranges + "\U000e0100-\U000e01ef"  # and the variation selectors, far away
