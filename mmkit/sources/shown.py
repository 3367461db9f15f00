"""A description as text: what `mmkit data inspect` and a notebook show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from mmkit.sources.description import Description

NARROW = 24
"""Characters of a column's name that are shown."""
MOST = 12
"""Classes whose counts are shown."""


def shown(found: Description, width: int = 80) -> str:
    """The description as lines of at most `width` characters.

    Args:
        found: the description.
        width: of the terminal.
    """
    return "\n".join(_lines(found, width))


def summary(found: Description) -> list[str]:
    """The lines that say how the data is used: target, splits, findings, problems."""
    return [*_of_target(found), *(f"{one.level}: {one.text}" for one in found.findings), *_problems(found)]


def _lines(found: Description, width: int) -> Iterator[str]:
    source = found.source
    yield from textwrap.wrap(f"{source.name}: {source.rows:,} rows, {_count(len(source.columns), 'column')}", width)
    rows = [("column", "missing", "is", "because")]
    for name, missing, kind, why in found.told():
        rows.append((_cut(name), "" if missing is None else _share(missing, source.rows), kind, why))
    yield from _table(rows, width)
    inputs = ", ".join(one.name if one.name == one.modality else f"{one.name} ({one.modality})" for one in found.inputs)
    for line in (f"inputs: {inputs or 'none'}", *summary(found)):
        yield from textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)


def _table(rows: Sequence[tuple[str, str, str, str]], width: int) -> Iterator[str]:
    """Rows of four columns, the last of them folded."""
    first, second, third = (max(len(row[place]) for row in rows) for place in range(3))
    left = first + second + third + 6
    for name, missing, kind, why in rows:
        head = f"{name:<{first}}  {missing:>{second}}  {kind:<{third}}  "
        folded = textwrap.wrap(why, max(width - left, 20)) or [""]
        yield (head + folded[0]).rstrip()
        yield from (" " * left + more for more in folded[1:])


def _of_target(found: Description) -> Iterator[str]:
    target = found.target
    if target is None:
        return
    named = ", ".join(found.request.target)
    counts = sorted(zip(target.counts, target.names, strict=False), reverse=True)
    what = f"{target.kind} ({len(target.names)})" if target.names else target.kind
    yield f"target {named}: {what}, {target.reason}; measured by {target.metric}"
    if target.counts:
        more = f", and {len(counts) - MOST} more" if len(counts) > MOST else ""
        yield "  " + ", ".join(f"{name} {count:,}" for count, name in counts[:MOST]) + more
    if target.missing:
        yield f"  {_count(target.missing, 'row')} without truth {'is' if target.missing == 1 else 'are'} left out"
    sizes = ", ".join(f"{name} {found.count(name):,}" for name in ("train", "validation", "test"))
    yield f"splits: {sizes} ({found.how})"


def _problems(found: Description) -> Iterator[str]:
    for problem in found.problems:
        yield f"to decide: {problem}"


def _share(missing: int, rows: int) -> str:
    return f"{100 * missing / rows:.1f} %"


def _cut(name: str) -> str:
    shown_name = name if name.isprintable() else repr(name)
    return shown_name if len(shown_name) <= NARROW else f"{shown_name[: NARROW - 1]}…"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
