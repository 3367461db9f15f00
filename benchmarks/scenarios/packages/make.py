"""Debian's packages, as its own list describes them: text and table, all real.

    apt-get update && apt-cache dumpavail > available.txt
    python benchmarks/scenarios/packages/make.py FOLDER available.txt

What each column is says `benchmarks/data/packages.py`. The list changes from day to day; of the rows of its 16 largest
sections every sixth is taken, by a hash of its source.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[3]))

from benchmarks.data.packages import SECTIONS, paragraphs, row  # noqa: E402

SHARE = 6


def make(folder: Path, available: Path) -> None:
    """Write FOLDER/packages.csv from what `apt-cache dumpavail` printed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "packages.csv").open("w", encoding="utf-8", newline="") as file:
        table = None
        for record in paragraphs(available):
            if record.get("Section") not in SECTIONS or "Size" not in record or not record.get("Description"):
                continue
            source = record.get("Source", record["Package"]).split(" ")[0]
            if int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big") % SHARE:
                continue
            cells = {"description": " ".join(record["Description"].split()), **row(record)}
            cells |= {"source": source, "section": record["Section"]}
            if table is None:
                table = csv.DictWriter(file, list(cells), lineterminator="\n")
                table.writeheader()
            table.writerow(cells)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
