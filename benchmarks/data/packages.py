"""Text and table for experiments with samples enough to fine-tune: what Debian's own list says of its packages.

    apt-get update
    apt-cache dumpavail > FOLDER/available.txt

and a `Packages` that is given this file. Nothing of it ships: the list changes from day to day, so a record holds its
fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mmkit

SECTIONS = frozenset(
    {
        "admin",
        "database",
        "editors",
        "electronics",
        "games",
        "graphics",
        "mail",
        "math",
        "net",
        "science",
        "sound",
        "text",
    }
    | {"utils", "video", "web", "x11"}
)
SIZES = {"train": 2000, "validation": 1000, "test": 2000}
SHARES = {"train": 0.60, "validation": 0.15, "test": 0.25}
NEEDED = ("libc6", "python3", "perl", "libstdc++6", "libx11-6", "libgtk", "libqt", "libsdl")


def paragraphs(path: Path) -> Iterator[dict[str, str]]:
    """The records of a file of RFC 822 paragraphs, fields by name; a folded line keeps its breaks."""
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        pairs = re.findall(r"^([\w-]+):[ \t]*((?:.*)(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        if pairs:
            yield dict(pairs)


def row(record: dict[str, str]) -> dict[str, Any]:
    """The table's row of a package: sizes, counts, what it needs and where it is at home; no name of a person."""
    relations = {name: record.get(name, "") for name in ("Depends", "Recommends", "Suggests")}
    needs = {re.split(r"[\s(:|]", one.strip())[0] for one in relations["Depends"].split(",")}
    return {
        "installed_size": float(record.get("Installed-Size", "0")),
        "size": float(record["Size"]),
        **{f"n_{name.lower()}": len([one for one in text.split(",") if one]) for name, text in relations.items()},
        **{f"needs_{name}": any(one.startswith(name) for one in needs) for name in NEEDED},
        "architecture": record.get("Architecture"),
        "multi_arch": record.get("Multi-Arch"),
        "priority": record.get("Priority"),
        "host": urlsplit(record.get("Homepage", "")).hostname,
    }


class Packages:
    """Which of 16 sections a package stands in.

    Args:
        file: what `apt-cache dumpavail` printed.
        train: number of training samples.
        split: seed of the split. Packages of one source stand in one split.
    """

    description = "The section of a Debian package, from its description and its sizes and needs."

    def __init__(self, *, file: str = "available.txt", train: int = SIZES["train"], split: int = 0) -> None:
        self.inputs = {"description": "text", "facts": "table"}
        self.target, self.metric = "classes", "accuracy"
        self.encoders: dict[str, str] = {}
        self.training: dict[str, Any] = {}
        self.file, self.sizes, self.seed = Path(file), SIZES | {"train": train}, split

    def split(self, name: str) -> mmkit.Samples:
        """The packages of a split, in an order that depends on the seed and their names alone."""
        chosen: dict[str, list[dict[str, str]]] = defaultdict(list)
        for record in paragraphs(self.file):
            if record.get("Section") in SECTIONS and "Size" in record and record.get("Description"):
                chosen[record.get("Source", record["Package"]).split(" ")[0]].append(record)
        side = {source: self._number(source, "side") for source in chosen}
        low = sum(share for other, share in SHARES.items() if list(SHARES).index(other) < list(SHARES).index(name))
        picked = [
            (source, record)
            for source, records in chosen.items()
            if low <= side[source] < low + SHARES[name]
            for record in records
        ]
        picked.sort(key=lambda pair: self._number(pair[1]["Package"], "order"))
        picked = picked[: self.sizes[name]]
        records = [record for _, record in picked]
        return mmkit.Samples(
            [record["Package"] for record in records],
            {
                "description": [" ".join(record["Description"].split()) for record in records],
                "facts": [row(record) for record in records],
            },
            [record["Section"] for record in records],
            [source for source, _ in picked],
        )

    def _number(self, text: str, purpose: str) -> float:
        """A number in [0 1) that depends on the seed and the text alone."""
        digest = hashlib.sha256(f"{self.seed} {purpose} {text}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48
