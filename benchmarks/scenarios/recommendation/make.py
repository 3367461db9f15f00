"""What users bought, and a picture of what they are shown, generated: do they buy it?

    python benchmarks/scenarios/recommendation/make.py FOLDER

A user has a colour: most of what they bought has it. They buy what they are shown if it has that colour, but in one
case of twenty they do the other thing. So the history alone and the picture alone are right half of the time, both
together at best in 95 % of the cases. `age`, `city` and `weekday` know nothing of it.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROWS, USERS, SIZE = 1500, 300, 16
COLOURS = {"red": (205, 40, 45), "green": (30, 140, 60), "blue": (40, 70, 200), "yellow": (240, 200, 30)}
THINGS = ["shirt", "hat", "scarf", "bag", "coat", "shoes"]
PATTERNS = ["plain", "striped", "checked"]


def picture(rng: np.random.Generator, colour: str) -> Image.Image:
    """Something of a colour, in one of several shapes and shades, on grey."""
    image = Image.new("RGB", (SIZE, SIZE), (int(rng.integers(200, 240)),) * 3)
    draw = ImageDraw.Draw(image)
    shade = tuple(int(np.clip(c + rng.integers(-25, 26), 0, 255)) for c in COLOURS[colour])
    left, top = (int(rng.integers(1, 5)) for _ in range(2))
    box = (left, top, left + int(rng.integers(8, 11)), top + int(rng.integers(8, 11)))
    (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=shade)
    if rng.random() < 0.4:
        for x in range(box[0], box[2], 3):
            draw.line([x, box[1], x, box[3]], fill=(250, 250, 250))
    return image


def make(folder: Path) -> None:
    """Write FOLDER/shown.csv and FOLDER/items."""
    rng = np.random.default_rng(0)
    (folder / "items").mkdir(parents=True, exist_ok=True)
    names = list(COLOURS)
    tastes = [str(rng.choice(names)) for _ in range(USERS)]
    ages = rng.integers(18, 75, USERS)
    cities = rng.choice(["Lyon", "Porto", "Graz", "Turku"], USERS)
    with (folder / "shown.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["history", "item", "age", "city", "weekday", "user", "buys"])
        for row in range(ROWS):
            user = int(rng.integers(USERS))
            taste = tastes[user]
            others = [name for name in names if name != taste]
            bought = [taste] * 3 + [str(rng.choice(others))]
            history = ", ".join(f"{rng.choice(PATTERNS)} {c} {rng.choice(THINGS)}" for c in rng.permutation(bought))
            wanted = row % 2 == 0
            item = f"items/{row:04}.png"
            picture(rng, taste if wanted else str(rng.choice(others))).save(folder / item)
            buys = wanted != (rng.random() < 0.05)
            weekday = rng.choice(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
            table.writerow([history, item, ages[user], cities[user], weekday, f"u{user:03}", "yes" if buys else "no"])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
