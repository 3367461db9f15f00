"""What names of columns say, and how many words a text has.

Standard library alone.
"""

from __future__ import annotations

import re

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_IDS = frozenset(("id", "ids", "identifier", "uuid", "guid", "idx", "index", "rowid", "unnamed", "pk"))
_NO_IDS = frozenset(
    ("acid", "avoid", "bid", "covid", "fluid", "grid", "hybrid", "kid", "paid", "rapid", "solid", "valid")
)
_CODES = frozenset(
    (
        "zip",
        "zipcode",
        "postal",
        "postcode",
        "plz",
        "sku",
        "type",
        "kind",
        "code",
        "category",
        "cat",
        "class",
        "group",
        "dept",
        "department",
        "store",
        "shop",
        "brand",
        "region",
        "district",
        "channel",
        "status",
        "cluster",
        "user",
        "customer",
        "product",
        "item",
        "vendor",
        "merchant",
        "branch",
        "country",
        "state",
        "city",
        "gender",
        "sex",
        "flag",
    )
)
_TIMES = frozenset(
    (
        "time",
        "date",
        "datetime",
        "timestamp",
        "ts",
        "created",
        "updated",
        "modified",
        "epoch",
        "when",
        "seen",
        "login",
        "since",
        "start",
        "end",
        "at",
        "on",
        "day",
    )
)

# Scripts that set no spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han and its extensions.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
CHARACTERS = 1.6
"""Characters of such a script that make up for a word: four of them for two and a half words."""


def parts(name: str) -> list[str]:
    """The words of a column's name, in lower case: `zipCode_2` is zip, code, 2."""
    return [part.lower() for part in _PARTS.findall(name)]


def says_id(name: str) -> bool:
    """Whether a name says that the column tells rows apart."""
    found = parts(name)
    return any(part in _IDS or (part.endswith("id") and part not in _NO_IDS and len(part) > 3) for part in found)


def says_code(name: str) -> bool:
    """Whether a name says that its numbers stand for something and measure nothing."""
    found = [part for part in parts(name) if not part.isdigit()]
    return bool(found) and (found[-1] in _CODES or found[0] in {"zip", "sku", "plz"} or says_id(name))


def says_time(name: str) -> bool:
    """Whether a name says that its values are moments."""
    return any(part in _TIMES for part in parts(name))


def words_of(text: str) -> float:
    """How many words a text has; in scripts without spaces, what stands for one."""
    spaceless = len(_SPACELESS.findall(text))
    if not spaceless:
        return len(text.split())
    return spaceless / CHARACTERS + len(_SPACELESS.sub(" ", text).split())


def is_code(text: str) -> bool:
    """Whether a text is one word with a digit or an @ in it."""
    return len(text.split()) == 1 and ("@" in text or any(letter.isdigit() for letter in text))
