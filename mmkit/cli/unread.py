"""What could not be used, said at the end of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterable


def tell_unread(lines: Iterable[str], on_error: str) -> None:
    """Say on stderr which values could not be read or transformed, and what became of them."""
    unread = sorted(set(lines))
    if unread:
        became = "their samples are left out" if on_error == "skip" else "count as missing"
        print(f"mmkit: {len(unread)} values could not be used and {became}:", file=sys.stderr)
        print(*(f"  {line}" for line in unread), sep="\n", file=sys.stderr)
