"""The report of values that could not be used, at the end of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mmkit.titles import counted

SHOWN = 20
"""The greatest number of values that are shown."""


def tell_unread(lines: Iterable[str], on_error: str, all_in: str = "", *, count: int | None = None) -> None:
    """Report on stderr which values could not be read or transformed, and what was done with them.

    Args:
        lines: one a value, in the order in which they are shown; one that is given twice counts once.
        on_error: what was done.
        all_in: the file that has all of them, where there is one.
        count: how many there are, where `lines` are only the first of them.
    """
    unread = list(dict.fromkeys(lines))
    if unread:
        total = len(unread) if count is None else count
        one = total == 1
        left, gone = ("its sample is", "counts") if one else ("their samples are", "count")
        action = f"{left} left out" if on_error == "skip" else f"{gone} as missing"
        print(f"mmkit: {counted(total, 'value')} could not be used and {action}:", file=sys.stderr)
        print(*(f"  {line}" for line in unread[:SHOWN]), sep="\n", file=sys.stderr)
        if total > SHOWN:
            print(f"  ... and {total - SHOWN} more{f', all in {all_in}' if all_in else ''}", file=sys.stderr)
