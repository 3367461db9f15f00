"""Questions about pictures of two digits: the digits are real handwriting, colours and questions are generated.

    python benchmarks/scenarios/questions/make.py FOLDER

The digits are those of 13 writers that ship with mmkit (UCI, CC BY 4.0); each stands in one picture. A question is
about the left digit, the right one, or both, and is put in one of several ways.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmkit.tasks.shipped import shipped

PICTURES, ASKED = 890, 3
INKS = {"red": (200, 20, 20), "green": (10, 140, 30), "blue": (20, 40, 210)}
SIDES = ("left", "right")
NUMBER = ["which digit is on the {}?", "the {} one, what number is it?", "read the digit on the {} side"]
COLOUR = ["what colour is the {} digit?", "which ink has the digit on the {}?", "the {} one, what colour has it?"]
LARGER = ["is the left digit larger than the right one?", "does the left number exceed the right one?"]


def picture(digits: np.ndarray, colours: list[str]) -> Image.Image:
    """Two digits [8 8] of ink 0 to 255, side by side in their colours on white."""
    halves = []
    for digit, colour in zip(digits, colours, strict=True):
        ink = digit[..., None] / 255
        halves.append(255 * (1 - ink) + np.array(INKS[colour]) * ink)
    return Image.fromarray(np.concatenate(halves, 1).round().astype(np.uint8))


def make(folder: Path) -> None:
    """Write FOLDER/asked.csv and FOLDER/pictures."""
    rng = np.random.default_rng(0)
    data = shipped("digits.npz")
    order = rng.permutation(len(data["written"]))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    with (folder / "asked.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["picture", "question", "answer"])
        for number in range(PICTURES):
            chosen = order[2 * number : 2 * number + 2]
            values = data["written_label"][chosen].tolist()
            colours = [str(one) for one in rng.choice(list(INKS), 2)]
            name = f"pictures/{number:03}.png"
            picture(data["written"][chosen], colours).save(folder / name)
            larger = "yes" if values[0] > values[1] else "no"
            possible = [
                *((NUMBER, SIDES[side], values[side]) for side in (0, 1)),
                *((COLOUR, SIDES[side], colours[side]) for side in (0, 1)),
                (LARGER, "", larger),
            ]
            for place in rng.permutation(len(possible))[:ASKED]:
                patterns, side, answer = possible[place]
                table.writerow([name, str(rng.choice(patterns)).format(side), answer])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
