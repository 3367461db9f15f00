"""Builds mmkit/tasks/data/fruit.csv, a table for trying out own data: every row is invented, drawn by a fixed seed."""

import argparse
import csv
import io
import random
from pathlib import Path

ROWS, SEED = 120, 7
FRUIT = {  # weight in grams: mean and deviation; colours; months; what is said
    "apple": (
        160,
        25,
        ["red", "green", "yellow"],
        [8, 9, 10],
        ["crisp and a little sour", "fine for a pie", "脆而多汁"],
    ),
    "pear": (
        180,
        30,
        ["green", "yellow", "brown"],
        [8, 9, 10],
        ["soft when it is ripe", "sweet and grainy", "香甜多汁"],
    ),
    "plum": (60, 15, ["blue", "red", "yellow"], [7, 8], ["sour skin, sweet inside", "good as jam", "果皮有点酸"]),
}
PLACES = ["the old tree by the gate", "the market", "our neighbour's garden", "the cellar", "a box at the station"]
DEEDS = ["picked by", "brought by", "weighed by", "shared with", "left for"]
PEOPLE = ["Anna", "Boris", "Chen", "Dora", "Emil", "Fatma", "Greta", "Hugo", "Ines", "Jan", "Kemal", "Lin"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("mmkit/tasks/data/fruit.csv"))
    parser.add_argument("--check", action="store_true", help="compare with the file that ships; write nothing")
    given = parser.parse_args()
    draw = random.Random(SEED)
    rows = []
    for number in range(ROWS):
        name = list(FRUIT)[number % len(FRUIT)]
        mean, deviation, colours, months, said = FRUIT[name]
        weight = "?" if draw.random() < 0.08 else f"{draw.gauss(mean, deviation):.0f}"
        colour = "" if draw.random() < 0.08 else draw.choice(colours)
        picked = f"2024-{draw.choice(months):02}-{draw.randint(1, 28):02}"
        note = f"{draw.choice(said)}, from {draw.choice(PLACES)}, {draw.choice(DEEDS)} {draw.choice(PEOPLE)}"
        rows.append([weight, colour, picked, "" if draw.random() < 0.1 else note, name])
    draw.shuffle(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["weight", "colour", "picked", "note", "fruit"])
    writer.writerows(rows)
    if given.check:
        raise SystemExit(given.out.read_text("utf-8") != text.getvalue() and f"{given.out} is not what is built")
    given.out.write_text(text.getvalue(), "utf-8")


if __name__ == "__main__":
    main()
