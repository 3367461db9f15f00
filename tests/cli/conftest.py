"""What the tests of commands on saved models share: a model of the table of fruit, and new rows for it."""

import csv
import dataclasses
from pathlib import Path

import pytest

import mmkit
from mmkit.registry.builtin.tasks import FRUIT
from mmkit.sources import streaming


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a model of the table of fruit; tests do not change it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    training = {"epochs": 2, "min_steps": 0}
    fitted, _ = mmkit.fit(data=FRUIT, target="fruit", fusion="late", training=training, progress=False, device="cpu")
    fitted.save(folder)
    return folder


@pytest.fixture
def new_fruit(tmp_path):
    """Writes the first rows of the table of fruit without the target, some notes exchanged; gives the path."""

    def write(count, notes=()):
        with Path(FRUIT).open(newline="") as file:
            rows = list(csv.DictReader(file))[:count]
        for number, note in dict(notes).items():
            rows[number]["note"] = note
        path = tmp_path / "new.csv"
        with path.open("w", newline="") as file:
            sheet = csv.DictWriter(file, [name for name in rows[0] if name != "fruit"], extrasaction="ignore")
            sheet.writeheader()
            sheet.writerows(rows)
        return path

    return write


@pytest.fixture
def small_pieces(monkeypatch):
    """Ten rows a part."""

    def in_tens(*arguments, **options):
        return dataclasses.replace(streaming.stream_of(*arguments, **options), size=10)

    monkeypatch.setattr("mmkit.cli.predict.stream_of", in_tens)
