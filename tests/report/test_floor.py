"""An answer that looks at no input is the floor, and a fusion that is not surely above it is told so."""

import numpy as np
import pytest
import torch

from mmkit.contract import Target
from mmkit.metrics.curves import AREAS
from mmkit.metrics.tensors import metrics_of
from mmkit.records.record import Fold
from mmkit.records.verdicts import Terms
from mmkit.report.card import notes
from mmkit.report.floor import floor_of, near_the_floor
from mmkit.report.remarks import remarks
from mmkit.report.summary import rows
from tests.report.records import over_seeds, record

LABEL = torch.tensor([0] * 3 + [1] * 11 + [2] * 6)
NAMES = ["fig", "pear", "plum"]
CONFUSION = [[1, 2, 0], [2, 8, 1], [0, 3, 3]]


def measured(target, prediction, **truth):
    metrics = metrics_of(target)
    metrics.update(prediction, {**truth, "mask": torch.ones(len(next(iter(truth.values()))), dtype=torch.bool)})
    return metrics.compute()


def of(metric, **known):
    return floor_of(record("late", 0, 0.5, metric=metric, **known))


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "f1_micro", "balanced_accuracy", "recall_macro", "precision_macro", "f1_macro", *AREAS],
)
def test_of_classes_it_is_what_the_most_frequent_one_gives(metric):
    constant = torch.tensor([0.2, 0.5, 0.3]).expand(len(LABEL), 3)
    expected = measured(Target("classes", 3, tuple(NAMES)), {"probabilities": constant}, label=LABEL)[metric]
    found = of(metric, confusion=CONFUSION, names=NAMES)
    assert found.value == pytest.approx(expected)
    assert found.answer == "answering pear every time, the most frequent class of test,"


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", *AREAS])
def test_of_labels_it_is_what_the_more_frequent_answers_give(metric):
    labels = torch.tensor([[1, 0]] * 7 + [[0, 0]] * 2 + [[1, 1]] * 3)
    constant = torch.tensor([0.9, 0.1]).expand(len(labels), 2)
    expected = measured(Target("labels", 2, ("a", "b")), {"probabilities": constant}, labels=labels)[metric]
    confusion = [[[1, 1], [4, 6]], [[5, 4], [1, 2]]]
    assert of(metric, confusion=confusion, names=["a", "b"]).value == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_of_a_number_it_is_what_the_mean_gives(metric):
    truth = torch.tensor([[1.0], [2.0], [4.0], [9.0]])
    mine = measured(
        Target("scalar", 1, ("x",)), {"values": truth + torch.tensor([[0.5], [-1], [2], [0]])}, values=truth
    )
    mean = measured(Target("scalar", 1, ("x",)), {"values": truth.mean().expand(4, 1)}, values=truth)
    assert of(metric, metrics=mine, names=["x"]).value == pytest.approx(mean[metric])


def test_of_other_metrics_nothing_is_said():
    assert of("log_loss", confusion=CONFUSION, names=NAMES) is None
    assert of("mae", metrics={"mae": 1.0, "r2": 0.5}, names=["x"]) is None
    assert of("f1_macro", confusion=[[[1, 1], [1, 1]]], names=["a"]) is None
    assert of("accuracy", confusion=CONFUSION) is None
    assert of("rmse", metrics={"rmse": 1.0, "r2": 0.5}, names=["x"], fold=Fold(1, 2)) is None
    assert of("rmse", metrics={"rmse": 1.0, "r2": 0.5}, names=["x", "y"]) is None


def right(share, seeds=5, samples=200, number=0):
    """Scores [S N] of answers of which so many are right."""
    draw = np.random.default_rng(number)
    return (draw.random((seeds, samples)) < share).astype(float)


def confused(scores, fusion="late", **rest):
    """Records of two classes, of which the test split has 120 and 80."""
    confusion = [[60, 60], [40, 40]]
    return over_seeds(fusion, scores, confusion=confusion, names=["no", "yes"], **rest)


def test_a_fusion_that_is_not_surely_above_it_is_told_so():
    found = rows(confused(right(0.62)))
    said = near_the_floor(found)
    assert said.startswith("Answering no every time, the most frequent class of test, has accuracy 60.0; late, ")
    assert said.endswith(", is not surely better.")
    assert remarks(found)[0] == said
    assert near_the_floor(rows(confused(right(0.5)))) != ""


def test_of_one_that_is_above_it_nothing_is_said():
    assert near_the_floor(rows(confused(right(0.8)))) == ""
    assert near_the_floor(rows(confused(right(0.8, seeds=1)))) == ""
    # As far above, but all samples are of four people.
    people = {"person": np.arange(200) % 4}
    by_person = np.tile(np.repeat([[1.0, 1.0, 1.0, 0.2]], 50, 0).reshape(1, 200), (5, 1))
    assert near_the_floor(rows(confused(by_person))) == ""
    assert "is not surely better" in near_the_floor(rows(confused(by_person)), Terms(people))


def test_a_loss_is_better_below_it():
    def found(rmse, r2):
        errors = -np.abs(np.random.default_rng(0).normal(rmse, 0.1, (5, 50)))
        return rows(over_seeds("late", -errors, metric="rmse", higher=False, metrics={"rmse": rmse, "r2": r2}))

    assert near_the_floor(found(1.0, 0.75)) == ""  # the mean has 2
    assert "has RMSE 1; late, 1, is not surely better" in near_the_floor(found(1.0, 0.0))


def test_a_card_says_it_by_the_interval_of_test():
    def said(low):
        known = {"confusion": CONFUSION, "names": NAMES, "intervals": {"test": {"accuracy": (low, 0.9)}}}
        return [one for one in notes(record("late", 0, 0.7, **known)) if "pear" in one]

    assert said(0.56) == []
    assert said(0.54) == [
        "Answering pear every time, the most frequent class of test, has accuracy 55.0; the model is not surely better."
    ]
