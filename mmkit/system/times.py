"""Times in words, and as people write them."""

from __future__ import annotations

import re

from mmkit.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h|d)\s*", re.IGNORECASE)


def seconds_in(text: str, what: str) -> float:
    """The seconds that a text says.

    >>> seconds_in("30m", "--budget"), seconds_in("1h 30min", "--budget"), seconds_in("90 s", "--budget")
    (1800.0, 5400.0, 90.0)
    >>> seconds_in("250ms", "--deadline")
    0.25

    Args:
        text: numbers with units.
        what: the option, for messages.

    Raises:
        UsageError: it is no time, or none at all.
    """
    parts = list(_PART.finditer(text))
    seconds = sum(float(part[1]) * _UNITS[part[2].lower()] for part in parts)
    if "".join(part[0] for part in parts) != text or seconds <= 0:
        raise UsageError(f"{what} takes a time, as in 30m, 90s or 1h30m; got {text!r}")
    return seconds


def in_words(seconds: float) -> str:
    """A time as a person says it.

    >>> [in_words(seconds) for seconds in (0.2, 33, 100, 1234, 5000, 100_000)]
    ['a few seconds', '30 s', '2 min', '21 min', '1 h 20 min', '28 h']
    """
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    if seconds < 5400 - 600:
        return f"{max(2, round(seconds / 60))} min"
    hours, minutes = divmod(round(seconds / 600) * 10, 60)
    return f"{hours} h {minutes} min" if hours < 10 and minutes else f"{hours + (minutes >= 30)} h"
