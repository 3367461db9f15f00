"""Metrics of batches as they come: equal to those of the whole, without keeping the predictions."""

import pickle

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from mmkit.contract import Target
from mmkit.errors import MmkitError, UsageError
from mmkit.metrics import curves
from mmkit.metrics.tensors import metrics_of

N = 3000


def fed(target, prediction, truth, leaf, *, batches=7, names=None):
    found = metrics_of(target, names)
    predicted = "values" if target.kind == "scalar" else "probabilities"
    for part in torch.arange(len(truth)).chunk(batches):
        mask = torch.ones(len(part), dtype=torch.bool)
        found.update({predicted: prediction[part]}, {leaf: truth[part], "mask": mask})
    return found


def classes(size):
    draw = torch.Generator().manual_seed(size)
    label = torch.randint(size, (N,), generator=draw)
    logits = torch.nn.functional.one_hot(label, size) * 3.0 + torch.randn(N, size, generator=draw) * 2
    return logits.softmax(-1), label


def labels(size):
    draw = torch.Generator().manual_seed(size)
    yes = (torch.rand(N, size, generator=draw) < 0.2).float()
    return (yes * 2 - 1 + torch.randn(N, size, generator=draw)).sigmoid(), yes


CASES = [("classes", "label", 3, classes), ("classes", "label", 50, classes), ("labels", "labels", 1, labels),
         ("labels", "labels", 6, labels)]  # fmt: skip


@pytest.mark.parametrize(("kind", "leaf", "size", "case"), CASES)
def test_the_number_of_batches_does_not_matter(kind, leaf, size, case):
    prediction, truth = case(size)
    together, apart = (fed(Target(kind, size), prediction, truth, leaf, batches=n) for n in (1, 97))
    assert apart.compute() == pytest.approx(together.compute(), abs=1e-12)
    assert apart.confusion() == together.confusion()
    for name in ("accuracy", "log_loss"):
        assert apart.per_sample(name) == pytest.approx(together.per_sample(name), abs=1e-12)
        assert np.mean(apart.per_sample(name)) == pytest.approx(apart.compute([name])[name], abs=1e-12)


@pytest.mark.parametrize(("kind", "leaf", "size", "case"), CASES)
def test_areas_from_bins_are_near_those_of_all_predictions(kind, leaf, size, case, monkeypatch):
    prediction, truth = case(size)
    columns = truth[:, None] == torch.arange(size) if kind == "classes" else truth > 0
    scores = {"auroc_macro": sk.roc_auc_score, "average_precision_macro": sk.average_precision_score}
    expected = {
        name: np.mean([score(columns[:, c], prediction[:, c]) for c in range(size)]) for name, score in scores.items()
    }
    exact = fed(Target(kind, size), prediction, truth, leaf)
    assert exact.binned == []
    assert exact.compute(scores) == pytest.approx(expected, abs=1e-12)
    for cells in (0, N * size // 2):  # from the first batch on, and from one in the middle
        monkeypatch.setattr(curves, "CELLS", cells)
        binned = fed(Target(kind, size), prediction, truth, leaf)
        assert binned.binned == list(scores)
        assert binned.compute(scores) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("kind", "leaf", "size", "case"), CASES)
def test_areas_are_computed_again_up_to_a_number_of_predictions(kind, leaf, size, case, monkeypatch):
    prediction, truth = case(size)
    index = torch.randint(N, (N,), generator=torch.Generator().manual_seed(1))
    found = fed(Target(kind, size), prediction, truth, leaf)
    drawn = {name: area() for name, area in found.resampled(index).items() if name in curves.AREAS}
    again = fed(Target(kind, size), prediction[index], truth[index], leaf).compute(curves.AREAS)
    assert drawn == pytest.approx(again, abs=1e-12)
    assert again != pytest.approx(found.compute(curves.AREAS), abs=1e-6)
    monkeypatch.setattr(curves, "AGAIN", N * size - 1)
    assert curves.AREAS.keys().isdisjoint(found.resampled(index))


def test_of_one_class_alone_no_area_is_computed_again():
    prediction, truth = classes(3)
    found = fed(Target("classes", 3), prediction, torch.zeros_like(truth), "label")
    drawn = found.resampled(torch.arange(N).flip(0))
    assert drawn["accuracy"]() == pytest.approx(found.compute()["accuracy"])
    assert all(drawn[name]() is None for name in curves.AREAS)


@pytest.mark.parametrize(("kind", "leaf", "size", "case"), CASES)
def test_an_area_is_the_mean_of_those_of_classes_or_labels(kind, leaf, size, case):
    prediction, truth = case(size)
    columns = truth[:, None] == torch.arange(size) if kind == "classes" else truth > 0
    found = fed(Target(kind, size), prediction, truth, leaf)
    expected = [sk.average_precision_score(columns[:, c], prediction[:, c]) for c in range(size)]
    assert found.of_each("average_precision_macro") == pytest.approx(expected, abs=1e-12)
    assert found.compute()["average_precision_macro"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert fed(Target(kind, size), prediction, truth, leaf, names=["accuracy"]).of_each("auroc_macro") == []


@pytest.mark.parametrize("values", [[0.0, 0.0, 1.0, 1.0], [0.5] * 4, [1e-30, 1e-12, 1 - 1e-7, 1.0]])
def test_bins_at_the_ends_and_ties(values, monkeypatch):
    monkeypatch.setattr(curves, "CELLS", 0)
    yes = torch.tensor([[False], [True], [False], [True]])
    areas = curves.Areas(1)
    areas.update(torch.tensor(values)[:, None], yes)
    found = areas.measures()
    assert found["auroc_macro"]() == pytest.approx(sk.roc_auc_score(yes[:, 0], torch.tensor(values)))
    expected = sk.average_precision_score(yes[:, 0], torch.tensor(values))
    assert found["average_precision_macro"]() == pytest.approx(expected)


def test_a_column_that_is_always_true_has_no_area_in_bins_either(monkeypatch):
    monkeypatch.setattr(curves, "CELLS", 0)
    areas = curves.Areas(2)
    areas.update(torch.tensor([[0.2, 0.3], [0.4, 0.1]]), torch.tensor([[True, False], [True, True]]))
    assert {name: area() for name, area in areas.measures().items()} == {
        "auroc_macro": 0,
        "average_precision_macro": 0.5,
    }
    alone = curves.Areas(1)
    alone.update(torch.tensor([[0.2]]), torch.tensor([[True]]))
    assert all(area() is None for area in alone.measures().values())


def test_predictions_are_not_kept_where_counts_do():
    size = 500
    draw = torch.Generator().manual_seed(0)
    probabilities, label = torch.rand(N, size, generator=draw).softmax(-1), torch.randint(size, (N,), generator=draw)
    names = ["accuracy", "f1_macro", "log_loss", "balanced_accuracy"]
    found = fed(Target("classes", size), probabilities, label, "label", names=names)
    assert len(pickle.dumps(found)) < 50 * N < probabilities.nbytes / 10
    assert found.compute()["f1_macro"] == pytest.approx(
        sk.f1_score(label, probabilities.argmax(-1), average="macro", labels=label.unique(), zero_division=0)
    )


def test_only_what_was_asked_for_is_collected():
    probabilities, label = classes(3)
    found = fed(Target("classes", 3), probabilities, label, "label", names=["accuracy"])
    assert list(found.compute()) == ["accuracy"]
    with pytest.raises(UsageError, match="metric auroc_macro was not collected; only accuracy"):
        found.compute(["auroc_macro"])
    with pytest.raises(UsageError, match=r"there is no metric acuracy of classes; did you mean accuracy\?"):
        metrics_of(Target("classes", 3), ["acuracy"])


def test_predictions_that_are_not_finite_are_counted_over_all_batches():
    probabilities, label = classes(3)
    probabilities[[0, 1500, 2999]] = float("nan")
    found = fed(Target("classes", 3), probabilities, label, "label")
    for ask in (found.compute, found.confusion, lambda: found.per_sample("accuracy")):
        with pytest.raises(MmkitError, match="3 of 3000 predictions are not finite"):
            ask()


def test_sums_are_exact_over_many_samples():
    count = 300_000  # in float32 a sum of so many ones and small parts drifts
    values = torch.full((count, 1), 0.1)
    found = fed(Target("scalar", 1), values, torch.zeros(count, 1, dtype=torch.float64), "values", batches=1000)
    assert found.compute(["mae"])["mae"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-14)
