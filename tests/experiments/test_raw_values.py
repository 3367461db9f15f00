"""Figures of a run against those that numpy computes of what the user gave and what the user gets."""

from typing import Any

import numpy as np
import pytest

import mmkit
from mmkit.contract import Samples

N = 120
SPLITS = {"train": 0, "validation": 1, "test": 2}
TRAINING = {"epochs": 15, "min_steps": 0}


def numbers_of_split(name):
    return np.random.default_rng(SPLITS[name]).uniform(-1, 1, N)


def task(value, truth, modality="table", target="classes", metric="accuracy"):
    """A task of one input, both value and truth being made of a number from -1 to 1."""

    class Task:
        description = "A number, in some form."
        inputs = {"x": modality}  # noqa: RUF012
        encoders = {}  # noqa: RUF012
        training = {}  # noqa: RUF012

        def split(self, name):
            numbers = numbers_of_split(name)
            return Samples([f"{name}{i}" for i in range(N)], {"x": value(numbers)}, truth(numbers))

    return type("Task", (Task,), {"target": target, "metric": metric})


def fit(*args, **options):
    given = task(*args, **options)
    return mmkit.fit(task=given, fusion="concat", training=TRAINING, device="cpu", progress=False)


def rows(numbers):
    return [{"a": float(number)} for number in numbers]


@pytest.mark.parametrize("offset", [1e8, 1.7e9, 1e12])
def test_scalar_metrics_are_those_of_the_answers_against_the_raw_truth(offset):
    model, record = fit(rows, lambda n: list(offset + 30 * n), target="scalar", metric="rmse")
    truth = offset + 30 * numbers_of_split("test")
    answers = model.predict([{"x": row} for row in rows(numbers_of_split("test"))])
    error = np.array([answer["value"] for answer in answers]) - truth
    assert record.metrics["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert record.metrics["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert record.metrics["r2"] == pytest.approx(1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(), abs=1e-5)
    assert record.metrics["rmse"] < 10  # learnt: the deviation is 17


def test_a_series_far_from_zero_is_learnt_as_well_as_one_near_it():
    def series(offset):
        return lambda numbers: [np.full((4, 1), offset + 30 * number) for number in numbers]

    def sign(numbers):
        return ["y" if number > 0 else "n" for number in numbers]

    for offset in (0.0, 1.7e9):
        _, record = fit(series(offset), sign, "series")
        assert record.metrics["accuracy"] > 0.9


def pictures(numbers):
    """Of many sizes; bright where the number is above 0."""
    return [np.full((20 + i % 7, 30 - i % 5), 60 + 120 * (number > 0), np.uint8) for i, number in enumerate(numbers)]


def signs(numbers):
    return ["y" if number > 0 else "n" for number in numbers]


@pytest.mark.parametrize(
    ("asked", "shape"),
    [
        ({}, (23, 23)),
        ({"encoders": {"x": "cnn:size=12"}}, (12, 12)),
        ({"options": ["encoder.x.size=12"]}, (12, 12)),
    ],
)
def test_pictures_of_many_sizes_are_learnt_without_an_option_or_with_it(asked, shape):
    model, record = mmkit.fit(
        task=task(pictures, signs, "image"),
        fusion="concat",
        training={"epochs": 3, "min_steps": 0},
        device="cpu",
        progress=False,
        **asked,
    )
    transform: Any = model.transforms.inputs["x"]
    assert transform.shape == shape
    assert record.metrics["accuracy"] > 0.9


class Labelled(list):
    """As a column of pandas whose index was shuffled: brackets ask for labels."""

    ndim = 1
    iloc = None

    def __getitem__(self, label):
        return list(self)[-1 - label]


def test_a_shuffled_index_pairs_no_wrong_values():
    _, record = fit(lambda numbers: Labelled(rows(numbers)), signs)
    assert record.metrics["accuracy"] > 0.95
