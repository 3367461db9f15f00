"""`fit` checks its task before it trains, as a suite does."""

import pytest

import mmkit
from mmkit import api
from mmkit.contract import Samples
from mmkit.errors import DataError, UsageError
from mmkit.system.progress import Progress


class Notes(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def note(self, message):
        self.lines.append(message)


def task(truths, ranked="accuracy", kind="classes", shift=0.0):
    class Task:
        target, metric = kind, ranked
        description = "A number a sample."
        inputs = {"row": "table"}  # noqa: RUF012
        encoders = {}  # noqa: RUF012
        training = {}  # noqa: RUF012

        def split(self, name):
            start = shift * ["train", "validation", "test"].index(name)
            rows = [{"a": start + i} for i in range(len(truths[name]))]
            return Samples([f"{name}{i}" for i in range(len(rows))], {"row": rows}, truths[name])

    return Task


TWO = ["a", "b"] * 6


@pytest.fixture
def _never_trained(monkeypatch):
    def execute(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(api, "execute", execute)


@pytest.mark.usefixtures("_never_trained")
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (task(dict.fromkeys(["train", "validation", "test"], TWO), "acc"), UsageError, "did you mean accuracy"),
        (
            task({"train": TWO, "validation": ["a"] * 6, "test": TWO}, "auroc_macro"),
            DataError,
            "needs two classes in validation",
        ),
        (
            task({"train": [1.0, 2.0], "validation": [3.0, 3.0], "test": [1.0]}, "r2", "scalar"),
            DataError,
            "needs two different values in validation",
        ),
        (task({"train": TWO, "validation": TWO, "test": ["a", "z"]}), DataError, "class z does not occur"),
    ],
)
def test_what_would_end_it_is_found_before_training(given, error, said):
    with pytest.raises(error, match=said):
        mmkit.fit(task=given, fusion="concat", progress=False)


@pytest.mark.parametrize(("shift", "lines"), [(0.0, 3), (100.0, 0)])
def test_samples_of_two_splits_that_are_the_same_are_said(shift, lines):
    notes = Notes()
    given = task(dict.fromkeys(["train", "validation", "test"], TWO), shift=shift)
    mmkit.fit(task=given, fusion="concat", training={"epochs": 1, "min_steps": 0}, progress=notes)
    assert sum("have the same inputs" in line for line in notes.lines) == lines


def test_a_class_that_only_test_has_may_be_left_out():
    given = task({"train": TWO, "validation": TWO, "test": [*TWO, "z"]}, shift=100.0)
    training = {"epochs": 1, "min_steps": 0}
    _, record = mmkit.fit(task=given, fusion="concat", training=training, on_error="skip", progress=False)
    assert record.samples.test == len(TWO)
