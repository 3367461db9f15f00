"""Labels of rows: what distinguishes them, in few words; what was left out stands in a legend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import category

LONG = 20
"""The longest value that is not shortened, though it looks like a path."""
WIDE = 28
"""The longest cell that is not shortened, though it shares options with others."""
NONE = "-"
"""The cell of a row that has no such component."""
ALONE = "only:"
"""What the name of a single-input baseline begins with."""
_OPTION = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^,])+""")
_VALUE = re.compile(r"""[^\s,="'\[\]{}]*[/\\][^\s,="'\[\]{}]*|(?<=")[^"]*[/\\][^"]*(?=")""")
_JOINERS = "\u200c\u200d"  # inside words of some scripts, and between the parts of one emoji


def shortened(cells: Sequence[str]) -> list[str]:
    """The cells of one column, without what they share, and of each long path its end. Different cells stay different.

    >>> shortened(["vit:weights=/data/models/small.pt,size=64", "vit:weights=/data/models/large.pt,size=64"])
    ['small.pt', 'large.pt']
    """
    distinct = list(dict.fromkeys(cells))
    unshared, nameless = _without_shared(distinct)
    deepest = max((cell.count("/") + cell.count("\\") for cell in distinct), default=0)
    for parts in range(1, deepest + 1):
        short = [_with_ends(cell, parts, nameless=nameless) for cell in unshared]
        if len(set(short)) == len(distinct):
            return [dict(zip(distinct, short, strict=True))[cell] for cell in cells]
    return [dict(zip(distinct, unshared, strict=True))[cell] for cell in cells]


def _with_ends(cell: str, parts: int, *, nameless: bool) -> str:
    """The cell with so many parts of each long path among the values of its options."""
    if nameless:
        return _end(cell, parts)
    name, colon, options = cell.partition(":")
    return name + colon + _VALUE.sub(lambda found: _end(found[0], parts), options)


def plain(text: str) -> str:
    """The text on one line: what moves the cursor or turns the direction of writing is shown as its escape."""
    return "".join(c if _is_plain(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def _is_plain(character: str) -> bool:
    return character in _JOINERS or category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _without_shared(cells: Sequence[str]) -> tuple[list[str], bool]:
    """The cells without the options that all of their component have, and without its name where all have that (True).

    A name stays, unless a path is all that differs. The cells themselves where they are short, or two became equal.
    """
    parts = {cell: _parts(cell) for cell in cells if cell != NONE and not cell.startswith(ALONE)}
    if not any(len(cell) > WIDE for cell in parts):
        return list(cells), False
    of: dict[str, list[list[str]]] = {}
    for name, options in parts.values():
        of.setdefault(name, []).append(options)
    shared = {name: set.intersection(*map(set, found)) if len(found) > 1 else set() for name, found in of.items()}
    left = {cell: [o for o in options if o not in shared[name]] for cell, (name, options) in parts.items()}
    keys = {option.partition("=")[0] for options in left.values() for option in options}
    single = all(len(options) == 1 for options in left.values())
    nameless = (
        len(of) == len(keys) == 1 and len(left) > 1 and single and any({"/", "\\"} & {*o[0]} for o in left.values())
    )
    short = []
    for cell in cells:
        if cell not in parts:
            short.append(cell)
        elif nameless:
            short.append(left[cell][0].partition("=")[2].strip('"'))
        else:
            short.append(":".join([parts[cell][0], *([",".join(left[cell])] if left[cell] else [])]))
    return (short, nameless) if len(set(short)) == len(cells) else (list(cells), False)


def _parts(cell: str) -> tuple[str, list[str]]:
    name, _, options = cell.partition(":")
    return name, _OPTION.findall(options)


def _end(path: str, parts: int) -> str:
    if len(path) <= LONG:
        return path
    found = [part for part in re.split(r"[/\\]+", path) if part]
    return "/".join(found[-parts:]) or path
