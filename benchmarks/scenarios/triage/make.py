"""Vibrations of machines with a note of the operator, generated: stop the machine, service it, or go on?

    python benchmarks/scenarios/triage/make.py FOLDER

A machine runs smoothly or roughly (bursts ride on its hum), and the note says how it is run. What is to be done:

             runs empty   full load   low on oil
    smooth   go on        go on       service
    rough    stop         service     stop

All six are equally frequent. So the vibration alone tells 2 of 3 right, the note alone half, both together all.
`hall`, `shift` and `temperature` know nothing of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROWS = 900
SAID = {
    "empty": ["running empty", "no load at the moment", "idling since the last batch", "nothing on the belt, it idles"],
    "full": ["full load today", "fully loaded, big order", "heavy batch, the belt is full", "running at full load"],
    "oil": ["oil is low", "the gauge says little oil left", "needs oil soon", "low oil lamp is on"],
}
AROUND = ["{}", "{}, as far as I can see", "checked it this morning: {}", "{}, nothing else to report", "{} again"]
TO_DO = {
    ("smooth", "empty"): "go on",
    ("smooth", "full"): "go on",
    ("smooth", "oil"): "service",
    ("rough", "empty"): "stop",
    ("rough", "full"): "service",
    ("rough", "oil"): "stop",
}


def vibration(rng: np.random.Generator, *, rough: bool) -> list[float]:
    """Some 60 samples of acceleration: a hum of any strength, and of a rough machine three bursts."""
    steps = np.arange(rng.integers(48, 73))
    wave = rng.uniform(0.5, 2) * np.sin(2 * np.pi * rng.uniform(0.03, 0.06) * steps + rng.uniform(0, 6))
    wave += rng.normal(0, 0.1, len(steps))
    if rough:
        for start in rng.choice(len(steps) - 6, 3, replace=False):
            wave[start : start + 6] += rng.uniform(0.6, 1.2) * np.array([1, -1, 1, -1, 1, -1])
    return [round(float(value), 2) for value in wave]


def make(folder: Path) -> None:
    """Write FOLDER/machines.jsonl."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    cases = list(TO_DO)
    with (folder / "machines.jsonl").open("w", encoding="utf-8") as file:
        for row in range(ROWS):
            runs, load = cases[row % len(cases)]
            note = str(rng.choice(AROUND)).format(str(rng.choice(SAID[load])))
            cells = {
                "note": note,
                "hall": str(rng.choice(["north", "south", "annex"])),
                "shift": str(rng.choice(["day", "night"])),
                "temperature": round(float(rng.normal(60, 5)), 1),
                "vibration": vibration(rng, rough=runs == "rough"),
                "to_do": TO_DO[runs, load],
            }
            file.write(json.dumps(cells) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
