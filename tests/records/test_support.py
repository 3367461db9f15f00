"""Classes and labels with few test samples: which they are, and what is allowed for them."""

import numpy as np
import pytest
import torch

from mmkit.contract import Target
from mmkit.metrics.tensors import metrics_of
from mmkit.records.record import Fold
from mmkit.records.support import Support, support
from mmkit.report.statistics import compare
from tests.report.records import record

LABELS = {"often": (30, 30), "rare": (58, 2), "never": (60, 0)}  # without and with


def of_classes(*counts, fold=None):
    """A run whose test split has so many samples of each class."""
    return record("sum", 0, 0.5, names=list("abcdef"[: len(counts)]), confusion=np.diag(counts).tolist(), fold=fold)


def of_labels(counts):
    return record("sum", 0, 0.5, names=list(counts), confusion=[[[no, 0], [yes, 0]] for no, yes in counts.values()])


@pytest.mark.parametrize(
    ("counts", "metric", "variance", "why"),
    [
        ((30, 30, 2), "balanced_accuracy", 2 / 4 / 9, "class c has 2 test samples"),
        ((30, 30, 1), "f1_macro", 1 / 9, "class c has 1 test sample"),  # no more than it can be
        ((30, 5, 9, 0), "recall_macro", (2 / 25 + 2 / 81) / 9, "class b has 5 test samples"),  # d does not occur
        ((30, 2), "auroc_macro", 2 / 4, "class b has 2 test samples"),  # both areas are one
        ((30, 3), "auroc_macro", 0.0, ""),
        ((30, 2), "average_precision_macro", 2 / 4 / 4, "class b has 2 test samples"),  # each class has its own
        ((30, 9), "average_precision_macro", 2 / 81 / 4, "class b has 9 test samples"),
        ((30, 10), "balanced_accuracy", 0.0, ""),
        ((30, 1), "accuracy", 0.0, ""),
    ],
)
def test_of_classes(counts, metric, variance, why):
    found = support([of_classes(*counts)], metric)
    assert found.unseen == pytest.approx(variance)
    assert found.why == why


@pytest.mark.parametrize(
    ("counts", "metric", "variance", "why"),
    [
        (LABELS, "f1_macro", 2 / 4 / 4, "label rare has 2 test samples"),
        (LABELS, "balanced_accuracy", 2 / 4 / 16, "label rare has 2 test samples"),
        ({"most": (2, 58), "half": (30, 30)}, "auroc_macro", 2 / 4 / 4, "label most has 2 test samples without it"),
        ({"most": (2, 58), "half": (30, 30)}, "f1_macro", 0.0, ""),
    ],
)
def test_of_labels(counts, metric, variance, why):
    found = support([of_labels(counts)], metric)
    assert found.unseen == pytest.approx(variance)
    assert found.why == why


def test_of_folds_the_fewest_in_a_fold_count():
    folds = [of_classes(20, number, fold=Fold(at, 3)) for at, number in enumerate((8, 4, 8), start=1)]
    found = support([*folds, *folds], "balanced_accuracy")
    assert found.unseen == pytest.approx(2 / 4 / 20 / 4)
    assert found.why == "class b has 4 test samples in fold 2"
    lacking = support([*folds[:2], of_classes(20, fold=Fold(3, 3))], "balanced_accuracy")
    assert lacking.unseen == pytest.approx(1 / 12 / 4)
    assert lacking.why == "class b has 0 test samples in fold 3"
    enough = [of_classes(20, 10, fold=Fold(at, 3)) for at in (1, 2, 3)]
    assert support(enough, "balanced_accuracy") == Support()


def test_without_a_confusion_matrix_nothing_is_known():
    assert support([record("sum", 0, 0.5)], "f1_macro") == Support()


@pytest.mark.parametrize("rare", [1, 2, 5])
@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro"])
def test_equal_combinations_are_told_apart_in_at_most_seven_of_a_hundred(name, rare):
    truth = np.repeat([0, 1, 2], [30, 30, rare])
    draw, suites, wrong = np.random.default_rng(rare), 60, 0

    def runs():
        base = draw.random(len(truth)) < np.where(truth == 2, 0.5, 0.85)
        return np.stack([scores(base ^ (draw.random(len(truth)) < 0.03)) for _ in range(5)])

    def scores(right):
        found = metrics_of(Target("classes", 3, ("a", "b", "c")), [name])
        predicted = np.where(right, truth, np.where(truth == 0, 1, 0))
        known = {"label": torch.from_numpy(truth), "mask": torch.ones(len(truth), dtype=torch.bool)}
        found.update({"probabilities": torch.from_numpy(np.eye(3)[predicted] * 0.7 + 0.1)}, known)
        return found.per_sample(name)

    unseen = support([of_classes(30, 30, rare)], name).unseen
    for _ in range(suites):
        wrong += compare(runs(), {"a": runs()}, same=0.01, unseen=unseen).finding in {"above", "below"}
    assert wrong <= 0.07 * suites + 2 * (0.05 * suites) ** 0.5
