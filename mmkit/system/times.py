"""Times in words."""

from __future__ import annotations


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
