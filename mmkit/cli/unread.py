"""The report of values that could not be used, at the end of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterable

SHOWN = 20
"""The greatest number of values that are shown."""


def tell_unread(lines: Iterable[str], on_error: str, all_in: str = "") -> None:
    """Report on stderr which values could not be read or transformed, and what was done with them.

    Args:
        lines: one a value.
        on_error: what was done.
        all_in: the file that has all of them, where there is one.
    """
    unread = sorted(set(lines))
    if unread:
        action = "their samples are left out" if on_error == "skip" else "count as missing"
        print(f"mmkit: {len(unread)} values could not be used and {action}:", file=sys.stderr)
        print(*(f"  {line}" for line in unread[:SHOWN]), sep="\n", file=sys.stderr)
        if len(unread) > SHOWN:
            print(f"  ... and {len(unread) - SHOWN} more{f', all in {all_in}' if all_in else ''}", file=sys.stderr)
