"""Writes the generated parts of pages; what makes each is in parts/.

    python .ci/pages.py             writes them
    python .ci/pages.py --check     only names the pages that are out of date; exit code 1 where one is

A generated part stands between `<!-- begin NAME ... -->` and `<!-- end NAME -->`; the rest of a page is written by
hand. `tests/pages/test_generated.py` compares all parts with what this file makes of the source.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parts.evidence import evidence
from parts.exports import exports
from parts.fields import fields
from parts.markdown import ROOT
from parts.marks import marks
from parts.registry import balances, objectives, registry
from parts.rooms import file_map, rooms
from parts.speeds import limits, published, speeds

PARTS: dict[str, dict[str, Callable[[], str]]] = {
    ".github/CONTRIBUTING.md": {"map": file_map},
    "benchmarks/evidence.md": {"evidence": evidence},
    "benchmarks/fusions/README.md": {"speeds": speeds, "limits": limits, "published": published},
    "mmkit/README.md": {"rooms": rooms},
    "mmkit/balances/README.md": {"balances": balances},
    "mmkit/fusions/README.md": {"registry": registry},
    "mmkit/model/exporting/README.md": {"exports": exports},
    "mmkit/objectives/README.md": {"objectives": objectives},
    "mmkit/records/README.md": {"fields": fields},
    "tests/README.md": {"marks": marks},
}
"""The generated parts of each page: their names, and what makes them."""


def renewed(text: str, name: str, content: str) -> str:
    """A page with one generated part replaced.

    Raises:
        ValueError: the page does not mark that part exactly once.
    """
    pattern = re.compile(rf"(<!-- begin {name}\b[^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"expected one part between <!-- begin {name} --> and <!-- end {name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text)


def pages() -> Iterator[tuple[Path, str, str]]:
    """Each page with generated parts: its path, what it holds, and what it should hold."""
    for path, parts in PARTS.items():
        before = after = (ROOT / path).read_text("utf-8")
        for name, make in parts.items():
            after = renewed(after, name, make())
        yield ROOT / path, before, after


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or name those that are out of date."""
    stale = [(path, after) for path, before, after in pages() if before != after]
    for path, after in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date; run `python .ci/pages.py`")
        else:
            path.write_text(after, "utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
