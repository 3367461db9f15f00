"""Intervals: those of a mean agree with the formula, and they hold the truth about as often as they say."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmkit.contract import Target
from mmkit.metrics.curves import AREAS
from mmkit.metrics.intervals import FEWER, intervals
from mmkit.metrics.tensors import leaves_of, metric_names, metrics_of


def of_classes(right, seed=0, size=3):
    """Metrics of predictions that are right where they are said to be."""
    count = len(right)
    label = torch.randint(size, (count,), generator=torch.Generator().manual_seed(seed))
    predicted = torch.where(torch.as_tensor(right), label, (label + 1) % size)
    metrics = metrics_of(Target("classes", size, tuple("abc")))
    probabilities = 0.7 * torch.nn.functional.one_hot(predicted, size) + 0.1
    metrics.update({"probabilities": probabilities}, {"label": label, "mask": torch.ones(count, dtype=torch.bool)})
    return metrics


def test_the_interval_of_an_accuracy_is_that_of_a_binomial():
    right = np.random.default_rng(0).random(1000) < 0.8
    low, high = intervals(of_classes(right))["accuracy"]
    expected = stats.binomtest(int(right.sum()), 1000).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_metrics_of_all_samples_have_intervals_around_them():
    metrics = of_classes(np.random.default_rng(1).random(400) < 0.7)
    found, scores = intervals(metrics), metrics.compute()
    assert found.keys() == set(metric_names("classes"))
    assert all(low <= scores[name] <= high for name, (low, high) in found.items())
    assert found == intervals(metrics)  # drawn by a seed of their own


def test_numbers_and_labels_have_intervals():
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(200, dtype=torch.bool)
    truth = torch.randn(200, 1, generator=generator, dtype=torch.float64)
    metrics = metrics_of(Target("scalar", 1, ("y",), mean=(0.0,), std=(1.0,)))
    noise = torch.randn(200, 1, generator=generator)
    metrics.update({"values": truth + noise}, {"values": truth, "mask": mask})
    found, scores = intervals(metrics), metrics.compute()
    assert found.keys() == set(metric_names("scalar"))
    assert all(low <= scores[name] <= high for name, (low, high) in found.items())
    error = np.abs(noise.numpy()).ravel()
    half = 1.96 * error.std() / np.sqrt(200)
    assert found["mae"] == pytest.approx((error.mean() - half, error.mean() + half), abs=0.02)

    metrics = metrics_of(Target("labels", 2, ("a", "b")))
    labels = (torch.rand(200, 2, generator=generator) < 0.5).float()
    p = torch.rand(200, 2, generator=generator)
    metrics.update({"probabilities": p}, {"labels": labels, "mask": mask})
    assert intervals(metrics).keys() == set(metric_names("labels"))


def test_of_one_sample_there_is_none():
    assert intervals(of_classes([True])) == {}


def of_two(rare, found, count=33):
    """Metrics of two classes: the first `rare` samples are of the one, of which the first `found` are found."""
    label = torch.zeros(count, dtype=torch.long)
    label[:rare] = 1
    predicted = torch.zeros(count, dtype=torch.long)
    predicted[:found] = 1
    metrics = metrics_of(Target("classes", 2, ("no", "yes")))
    probabilities = 0.8 * torch.nn.functional.one_hot(predicted, 2) + 0.1
    metrics.update({"probabilities": probabilities}, {"label": label, "mask": torch.ones(count, dtype=torch.bool)})
    return metrics


def test_a_draw_without_the_rare_class_is_no_perfect_one():
    """With 3 samples of 33 one in 23 draws has none of them, and the mean over the classes that it has would be 1."""
    some = intervals(of_two(3, 1))["balanced_accuracy"]
    assert some == (0.5, 1.0)  # of those that are drawn, none to all are found
    none = intervals(of_two(3, 0))
    assert not {"balanced_accuracy", "f1_macro", "recall_macro"} & {
        name for name, (_, high) in none.items() if high > 0.5
    }
    assert "balanced_accuracy" not in none  # it is a half in every draw, which says nothing of other samples
    assert not {"balanced_accuracy", "f1_macro"} & intervals(of_two(2, 1)).keys()  # too few draws have both


def of_kind(kind, predicted, truth):
    metrics = metrics_of(Target(kind, predicted.shape[1], tuple("abcd")[: predicted.shape[1]]))
    leaf, true = leaves_of(kind)
    metrics.update({leaf: predicted}, {true: truth, "mask": torch.ones(len(truth), dtype=torch.bool)})
    return metrics


@pytest.mark.parametrize("kind", ["classes", "labels", "scalar"])
def test_every_metric_of_a_draw_is_that_of_its_samples(kind):
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(60, 4, generator=generator).double()
    truth = torch.rand(60, 4, generator=generator)
    truth = {"classes": truth.argmax(1), "labels": (truth < 0.4).float(), "scalar": truth.double()}[kind]
    predicted = predicted / predicted.sum(1, keepdim=True) if kind == "classes" else predicted
    metrics = of_kind(kind, predicted, truth)
    for _ in range(5):
        index = torch.randint(60, (60,), generator=generator)
        found = {name: measure() for name, measure in metrics.resampled(index).items()}
        assert found == pytest.approx(of_kind(kind, predicted[index], truth[index]).compute())
        assert found.keys() == set(metric_names(kind))


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_a_mean_is_not_defined_on_a_draw_that_lacks_what_is_rare(kind):
    truth = torch.zeros(30, 2)
    truth[:, 0], truth[:15, 0], truth[:2, 1] = 1.0, 0.0, 1.0  # the second label is that of the first two alone
    label = torch.arange(30) % 2
    label[:2] = 2
    predicted = torch.rand(30, 3 if kind == "classes" else 2, generator=torch.Generator().manual_seed(0))
    metrics = of_kind(kind, predicted, label if kind == "classes" else truth)
    lacking = {name for name, measure in metrics.resampled(torch.arange(2, 30)).items() if measure() is None}
    over = {"balanced_accuracy", "f1_macro", "precision_macro", "recall_macro", *AREAS}
    assert lacking == over
    assert all(measure() is not None for measure in metrics.resampled(torch.arange(30)).values())


def test_of_what_no_draw_changes_there_is_none():
    assert "accuracy" not in intervals(of_classes([True] * 50))


def grouped(seed, groups=20, each=25, spread=0.2):
    """Whether samples are right, whose groups differ in how often they are, and the label of each one's group."""
    rng = np.random.default_rng(seed)
    chance = np.clip(rng.normal(0.7, spread, groups), 0, 1).repeat(each)
    return rng.random(len(chance)) < chance, [f"g{i}" for i in np.arange(groups).repeat(each)]


def test_the_interval_of_a_grouped_accuracy_is_that_of_the_means_of_groups(monkeypatch):
    monkeypatch.setattr("mmkit.metrics.intervals.DRAWS", 1000)
    right, labels = grouped(0, groups=200, each=5)
    low, high = intervals(of_classes(right), [labels])["accuracy"]
    means = right.reshape(200, 5).mean(1)
    half = 1.96 * means.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((means.mean() - half, means.mean() + half), abs=0.006)
    alone_low, alone_high = intervals(of_classes(right))["accuracy"]
    assert high - low > 1.2 * (alone_high - alone_low)


def test_of_crossing_factors_the_interval_is_at_least_that_of_each():
    right, labels = grouped(1)
    other = [f"h{i % 25}" for i in range(500)]
    metrics = of_classes(right)
    widths = [np.diff(intervals(metrics, of)["accuracy"])[0] for of in ([labels, other], [labels], [other])]
    assert widths[0] > max(widths[1:])


@pytest.mark.parametrize("labels", ["ab" * 50, "a" * 98 + "bc"])
def test_of_fewer_than_three_groups_that_count_there_is_none(labels):
    assert intervals(of_classes([True, False] * 50), [labels]) == {}


@pytest.mark.full
def test_intervals_over_groups_hold_the_truth_where_those_over_samples_do_not(monkeypatch):
    """100 splits of 20 groups: the bootstrap of 20 is narrower than Student's t by a tenth, which holds it in .92."""
    monkeypatch.setattr("mmkit.metrics.intervals.DRAWS", FEWER)
    truth = np.mean([grouped(seed)[0].mean() for seed in range(1000, 3000)])
    held = {"groups": 0, "samples": 0}
    for seed in range(100):
        right, labels = grouped(seed)
        for name, of in (("groups", [labels]), ("samples", [])):
            low, high = intervals(of_classes(right, seed), of)["accuracy"]
            held[name] += bool(low <= truth <= high)
    assert held["groups"] >= 85
    assert held["samples"] < 75


@pytest.mark.full
def test_intervals_hold_the_truth_nineteen_times_in_twenty():
    """100 splits of 200 samples: binomial (100, .95) has the deviation 2.2, and a bootstrap is slightly narrow."""
    rng = np.random.default_rng(0)
    held = sum(
        low <= 0.75 <= high
        for low, high in (intervals(of_classes(rng.random(200) < 0.75, seed))["accuracy"] for seed in range(100))
    )
    assert 88 <= held <= 99
