"""The table of the page about private training has the figures of its record."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
RECORD = json.loads((ROOT / "benchmarks" / "records" / "private.json").read_text())
PAGE = (ROOT / "mmkit" / "training" / "privacy.md").read_text()


def test_every_figure_of_the_table_is_that_of_the_record():
    found = re.findall(r"^\| (none|[\d.]+) \| ([\d.]+) ± ([\d.]+) \| (-|[\d.]+) \|$", PAGE, re.MULTILINE)
    expected = [
        (
            "none" if one["epsilon"] is None else f"{one['epsilon']:g}",
            f"{100 * one['accuracy']:.1f}",
            f"{100 * one['accuracy_std']:.1f}",
            "-" if one["epsilon"] is None else f"{one['runs'][0]['noise']:.2f}",
        )
        for one in RECORD["trainings"]
    ]
    assert found == expected


def test_what_the_rows_allow_is_said_and_nothing_is_above_it_but_by_chance():
    best = RECORD["accuracy_of_the_likeliest_class"]
    assert f"{100 * best:.1f} %" in PAGE
    assert all(one["accuracy"] <= best + 0.01 for one in RECORD["trainings"])


def test_no_training_spent_more_than_it_was_to():
    for one in RECORD["trainings"]:
        for run in one["runs"]:
            assert (
                run["spent"] is None
                if one["epsilon"] is None
                else 0.97 * one["epsilon"] < run["spent"] <= one["epsilon"]
            )
