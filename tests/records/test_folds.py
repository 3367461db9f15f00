"""Records of folds, joined: over all rows, against scikit-learn on all predictions at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from mmkit.contract import Target
from mmkit.metrics.tensors import metrics_of
from mmkit.records.folds import MEANS, join, joined, means_of
from mmkit.records.record import Fold, Record, SampleCounts
from mmkit.records.scores import Scores

WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}
NAMES = ("a", "b", "c")


def record(number, of=3, *, seed=0, status="ok", **told):
    return Record(id=f"{number}/{seed}", task="t", run={}, status=status, encoders={}, fusion="concat", head="h",
                  objectives=[], seed=seed, fold=Fold(number, of), **told, **WHERE)  # fmt: skip


def folds_of_classes(predicted, truth, fold, metric="accuracy"):
    """The records of folds whose predictions are known."""
    probabilities = np.eye(3)[predicted] * 0.7 + 0.1
    found = []
    for number in (1, 2, 3):
        rows = np.flatnonzero(fold == number)
        collected = metrics_of(Target("classes", 3, NAMES))
        collected.update(
            {"probabilities": torch.from_numpy(probabilities[rows])},
            {"label": torch.from_numpy(truth[rows]), "mask": torch.ones(len(rows), dtype=torch.bool)},
        )
        found.append(
            record(
                number,
                metric=metric,
                metrics=collected.compute(),
                validation={"accuracy": number / 10},
                names=list(NAMES),
                confusion=collected.confusion(),
                scores=Scores.of(collected.per_sample(metric), rows, len(truth)),
                samples=SampleCounts(40, 10, len(rows), {"test": 0}, {"test": {"x": number}}),
            )
        )
    return found, probabilities


@pytest.fixture
def drawn():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 101)
    predicted = np.where(generator.random(101) < 0.6, truth, generator.integers(0, 3, 101))
    return predicted, truth, generator.permutation(np.arange(101) % 3 + 1)


def test_figures_on_test_are_over_all_rows(drawn):
    predicted, truth, _ = drawn
    parts, probabilities = folds_of_classes(*drawn)
    whole = join(parts).metrics
    assert whole["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert whole["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    assert whole["f1_macro"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert whole["precision_macro"] == pytest.approx(sk.precision_score(truth, predicted, average="macro"))
    assert whole["recall_macro"] == pytest.approx(sk.recall_score(truth, predicted, average="macro"))
    assert whole["f1_micro"] == pytest.approx(sk.f1_score(truth, predicted, average="micro"))
    assert whole["log_loss"] == pytest.approx(sk.log_loss(truth, probabilities, labels=[0, 1, 2]))
    assert whole["auroc_macro"] == pytest.approx(np.mean([one.metrics["auroc_macro"] for one in parts]))
    assert join(parts).confusion == sk.confusion_matrix(truth, predicted).tolist()
    assert "auroc_macro" in MEANS


def test_scores_are_in_the_order_of_the_rows(drawn):
    predicted, truth, _ = drawn
    parts, _ = folds_of_classes(*drawn)
    np.testing.assert_array_equal(join(parts).scores.values, (predicted == truth).astype(np.float32))


def test_counts_of_test_are_those_of_all_folds(drawn):
    whole = join(folds_of_classes(*drawn)[0]).samples
    assert (whole.train, whole.validation, whole.test, whole.missing["test"]) == (40, 10, 101, {"x": 6})


def test_classes_that_a_fold_does_not_know_go_by_name(drawn):
    parts, _ = folds_of_classes(*drawn)
    lacking = record(
        3,
        metric="accuracy",
        metrics=parts[2].metrics,
        names=["c", "a"],
        confusion=[[5, 1], [2, 7]],
        samples=parts[2].samples,
    )
    whole = join([*parts[:2], lacking])
    expected = np.array(parts[0].confusion) + np.array(parts[1].confusion)
    expected[np.ix_([2, 0], [2, 0])] += [[5, 1], [2, 7]]
    assert whole.names == ["a", "b", "c"]
    assert whole.confusion == expected.tolist()
    assert whole.scores is None


def test_a_root_of_a_mean_is_that_over_all_rows():
    errors = np.random.default_rng(1).normal(size=90)
    parts = [
        record(
            number,
            metric="mae",
            metrics={"mae": np.abs(some).mean(), "rmse": math.sqrt((some**2).mean())},
            names=["y"],
            samples=SampleCounts(1, 1, len(some), {}),
        )
        for number, some in enumerate(np.split(errors, [20, 50]), start=1)
    ]
    whole = join(parts).metrics
    assert whole["mae"] == pytest.approx(np.abs(errors).mean())
    assert whole["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))


def test_of_several_numbers_the_root_is_the_mean_over_folds_and_named_so():
    """The root of each number's mean square is not in the records, so that of all rows is not known."""
    parts = [
        record(number, metric="rmse", metrics={"rmse": error, "mae": error}, names=["u", "v"],
               samples=SampleCounts(1, 1, size, {}), scores=Scores.of([error] * size, range(at, at + size), 90))
        for number, (error, size, at) in enumerate(((1.0, 20, 0), (2.0, 30, 20), (6.0, 40, 50)), start=1)
    ]  # fmt: skip
    whole = join(parts)
    assert whole.metrics["rmse"] == pytest.approx(3)
    assert whole.metrics["mae"] == pytest.approx((20 + 60 + 240) / 90)
    assert means_of(whole) == ["rmse"]
    assert whole.scores.values == pytest.approx([3] * 90)


def test_counts_of_labels_are_those_of_all_rows():
    """Label c is on one row, so its folds without it say nothing of it."""
    draw = np.random.default_rng(0)
    truth, fold = np.zeros((60, 3), int), np.arange(60) % 3 + 1
    truth[:30, 0] = truth[10:40, 1] = truth[5, 2] = 1
    probabilities = np.clip(truth * 0.5 + draw.random((60, 3)) * 0.6, 0, 1)

    def collected(rows):
        found = metrics_of(Target("labels", 3, NAMES))
        known = {"labels": torch.from_numpy(truth[rows]), "mask": torch.ones(len(rows), dtype=torch.bool)}
        found.update({"probabilities": torch.from_numpy(probabilities[rows])}, known)
        return found

    parts = []
    for number in (1, 2, 3):
        found = collected(np.flatnonzero(fold == number))
        parts.append(record(number, metric="f1_macro", metrics=found.compute(), names=list(NAMES),
                            confusion=found.confusion(), samples=SampleCounts(1, 1, 20, {})))  # fmt: skip
    whole, expected = join(parts), collected(np.arange(60)).compute()
    for name in set(expected) - set(MEANS):
        assert whole.metrics[name] == pytest.approx(expected[name]), name
    assert means_of(whole) == ["auroc_macro", "average_precision_macro"]


def test_a_seed_without_all_folds_has_no_record(drawn):
    parts, _ = folds_of_classes(*drawn)
    assert joined(parts[:2]) == []
    assert [one.seed for one in joined([*parts, record(1, seed=1)])] == [0]


def test_a_fold_that_failed_fails_the_seed(drawn):
    parts, _ = folds_of_classes(*drawn)
    (whole,) = joined([*parts[:2], record(3, status="failed", error="DataError: no")])
    assert (whole.status, whole.error) == ("failed", "fold 3 of 3: DataError: no")


def test_records_without_folds_stay_as_they_are(drawn):
    parts, _ = folds_of_classes(*drawn)
    alone = Record(id="x", task="t", run={}, status="ok", encoders={}, fusion="f", head="h", objectives=[], seed=0,
                   **WHERE)  # fmt: skip
    assert joined([alone, *parts])[0] is alone
