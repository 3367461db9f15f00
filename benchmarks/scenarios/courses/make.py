"""What students write of a course and how they worked, generated: how many points do they get in the exam?

    python benchmarks/scenarios/courses/make.py FOLDER

The points are 50 + 10 a + 10 b + 6 c. `a` is the trend of the minutes of each week, `b` how sure the student writes
to be (one of five steps), `c` is chance; each has a standard deviation of 1. So of the variance the minutes tell 42 %,
the text 42 %, both 85 %, and no model can know the rest: the error that is left is 6 points.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROWS = 1000
SAID = [
    ["I am completely lost", "nothing makes sense to me", "I understand none of it"],
    ["I struggle with most of it", "it is hard to follow", "I often get stuck"],
    ["some of it is clear", "it is all right so far", "I get about half of it"],
    ["most of it is clear", "I can follow well", "I solve most exercises"],
    ["I could teach it myself", "everything is clear", "all exercises were easy"],
]
STEPS = (np.arange(5) - 2) / np.sqrt(2)  # equally frequent: mean 0, standard deviation 1
AROUND = ["{}.", "So far: {}.", "{}, and the room is cold.", "To be honest, {}.", "{}. The slides are long."]


def make(folder: Path) -> None:
    """Write FOLDER/students.jsonl."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "students.jsonl").open("w", encoding="utf-8") as file:
        for _ in range(ROWS):
            trend, sure, chance = rng.normal(), int(rng.integers(5)), rng.normal()
            weeks = np.arange(int(rng.integers(10, 15)))
            centred = (weeks - weeks.mean()) / weeks.std()
            minutes = rng.uniform(90, 180) + 25 * trend * centred + rng.normal(0, 8, len(weeks))
            cells = {
                "text": str(rng.choice(AROUND)).format(str(rng.choice(SAID[sure]))),
                "minutes": [round(float(value)) for value in minutes],
                "semester": str(rng.choice(["spring", "autumn"])),
                "points": round(50 + 10 * trend + 10 * float(STEPS[sure]) + 6 * chance, 1),
            }
            file.write(json.dumps(cells) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
