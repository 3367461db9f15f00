"""Sizes as people write them."""

from __future__ import annotations

import re

from mmkit.errors import UsageError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)


def bytes_in(text: str, what: str) -> int:
    """The bytes that a text says.

    >>> bytes_in("1.5 GiB", "--keep"), bytes_in("500M", "--keep"), bytes_in("0", "--keep")
    (1610612736, 500000000, 0)

    Args:
        text: a number with a unit.
        what: the option, for messages.

    Raises:
        UsageError: it is no size.
    """
    found = _SIZE.fullmatch(text)
    if found is None or found[2].lower() not in _UNITS:
        raise UsageError(f"{what} takes a size, as in 20GiB or 500MB; got {text}")
    return int(float(found[1]) * _UNITS[found[2].lower()])
