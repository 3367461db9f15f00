"""The report of values that could not be used, at the end of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def tell_unread(lines: Iterable[str], on_error: str) -> None:
    """Report on stderr which values could not be read or transformed, and what was done with them."""
    unread = sorted(set(lines))
    if unread:
        action = "their samples are left out" if on_error == "skip" else "count as missing"
        print(f"mmkit: {len(unread)} values could not be used and {action}:", file=sys.stderr)
        print(*(f"  {line}" for line in unread), sep="\n", file=sys.stderr)
