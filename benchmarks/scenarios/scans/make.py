"""Scans with a note of the doctor, generated: which of three findings are written into the record?

    python benchmarks/scenarios/scans/make.py FOLDER

No patient stands behind any of it, and no medicine: spots are drawn, notes follow patterns. Three labels, each of
which may or may not apply:

    shadow      the scan has a bright spot        (the scan tells it)
    fever       the note says so, in some words   (the note tells it)
    urgent      shadow and fever together         (only both tell it)

Of ten rows one has no scan and one has no note.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, SIZE = 900, 24
FEVER = ["39.2 degrees since Monday", "shivering, feels hot", "high temperature at night", "fever for three days"]
NONE = ["temperature is normal", "no fever at any time", "36.7 degrees this morning", "never felt hot"]
AROUND = ["{}; coughs a little", "tired, {}", "{}. Sleeps badly", "came by bus; {}", "{}, no pain", "smoker; {}"]


def scan(rng: np.random.Generator, *, shadow: bool) -> Image.Image:
    """Grey noise with two dark fields; a shadow is a soft bright spot in one of them."""
    y, x = np.mgrid[:SIZE, :SIZE]
    light = rng.uniform(110, 150) + rng.normal(0, 10, (SIZE, SIZE))
    for middle in (7, 16):
        light -= 60 * np.exp(-(((x - middle) / 3.5) ** 4) - ((y - 12) / 8) ** 4)
    if shadow:
        where = rng.choice([7, 16]) + rng.normal(0, 1), rng.uniform(7, 17)
        light += rng.uniform(60, 100) * np.exp(-((x - where[0]) ** 2 + (y - where[1]) ** 2) / rng.uniform(4, 9))
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))


def make(folder: Path) -> None:
    """Write FOLDER/patients.jsonl and FOLDER/scans."""
    rng = np.random.default_rng(0)
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    with (folder / "patients.jsonl").open("w", encoding="utf-8") as file:
        for row in range(ROWS):
            shadow, fever = row % 2 == 0, row // 2 % 2 == 0
            name = f"scans/{row:03}.png"
            note = str(rng.choice(AROUND)).format(str(rng.choice(FEVER if fever else NONE)))
            scan(rng, shadow=shadow).save(folder / name)
            gone = rng.random()
            labels = {"shadow": shadow, "fever": fever, "urgent": shadow and fever}
            cells = {
                "scan": None if gone < 0.1 else name,
                "note": None if gone > 0.9 else note,
                "findings": [label for label, applies in labels.items() if applies],
            }
            file.write(json.dumps(cells) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
