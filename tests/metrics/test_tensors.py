"""Every metric against scikit-learn or SciPy."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk
from torchmetrics.functional.regression import pearson_corrcoef, spearman_corrcoef

from mmkit.contract import Target
from mmkit.errors import MmkitError, UsageError
from mmkit.metrics import collected
from mmkit.metrics.formulas import of_numbers
from mmkit.metrics.tensors import higher_is_better, metric_names, metrics_of

N = 200


def evaluate(target, leaf, predicted, true_leaf, true, mask=None, batches=3):
    found = metrics_of(target)
    mask = torch.ones(len(true), dtype=torch.bool) if mask is None else mask
    for part in torch.arange(len(true)).chunk(batches):
        found.update({leaf: predicted[part]}, {true_leaf: true[part], "mask": mask[part]})
    return found


def classes_case(size=4, absent=()):
    label = torch.randint(size, (N,))
    for c in absent:
        label[label == c] = (c + 1) % size
    guess = torch.nn.functional.one_hot(label, size) * 1.5 + torch.randn(N, size)
    return guess.softmax(-1), label


@pytest.mark.parametrize("absent", [(), (1,), (0, 3)])
def test_classes(absent):
    probabilities, label = classes_case(absent=absent)
    mask = torch.rand(N) < 0.8
    found = evaluate(Target("classes", 4), "probabilities", probabilities, "label", label, mask)
    p, y = probabilities[mask], label[mask]
    guess, occur = p.argmax(-1), sorted(set(y.tolist()))
    macro = {"labels": occur, "average": "macro", "zero_division": 0}
    one_hot = np.eye(4)[y][:, occur]
    recalls = [float((guess[y == c] == c).double().mean()) for c in occur]
    expected = {
        "accuracy": sk.accuracy_score(y, guess),
        "balanced_accuracy": np.mean(recalls),
        "f1_macro": sk.f1_score(y, guess, **macro),
        "f1_micro": sk.f1_score(y, guess, average="micro"),
        "precision_macro": sk.precision_score(y, guess, **macro),
        "recall_macro": sk.recall_score(y, guess, **macro),
        "auroc_macro": sk.roc_auc_score(one_hot, p[:, occur], average="macro"),
        "average_precision_macro": sk.average_precision_score(one_hot, p[:, occur], average="macro"),
        "log_loss": sk.log_loss(y, (p.double() / p.double().sum(1, keepdim=True)).numpy(), labels=range(4)),
    }
    assert found.compute() == pytest.approx(expected, abs=1e-6)
    assert tuple(found.compute()) == metric_names("classes")
    assert found.confusion() == sk.confusion_matrix(y, guess, labels=range(4)).tolist()
    assert (found.samples, found.without_truth) == (int(mask.sum()), N - int(mask.sum()))


@pytest.mark.parametrize("size", [1, 3])
def test_labels(size):
    labels = (torch.rand(N, size) < 0.3).float()
    probabilities = (labels * 1.5 - 1 + torch.randn(N, size)).sigmoid()
    found = evaluate(Target("labels", size), "probabilities", probabilities, "labels", labels)
    y, p = labels.long().numpy(), probabilities.numpy()
    guess = (p > 0.5).astype(int)
    each = range(size)
    if size == 1:  # scikit-learn takes one column for the two classes no and yes

        def average(score):
            return score(y[:, 0], guess[:, 0])

        micro = sk.f1_score(y[:, 0], guess[:, 0])
    else:

        def average(score):
            return score(y, guess, average="macro", zero_division=0)

        micro = sk.f1_score(y, guess, average="micro")
    expected = {
        "accuracy": np.mean(y == guess),
        "balanced_accuracy": np.mean([sk.balanced_accuracy_score(y[:, c], guess[:, c]) for c in each]),
        "f1_macro": average(sk.f1_score),
        "f1_micro": micro,
        "precision_macro": average(sk.precision_score),
        "recall_macro": average(sk.recall_score),
        "auroc_macro": np.mean([sk.roc_auc_score(y[:, c], p[:, c]) for c in each]),
        "average_precision_macro": np.mean([sk.average_precision_score(y[:, c], p[:, c]) for c in each]),
        "log_loss": np.mean([sk.log_loss(y[:, c], p[:, c].astype(np.float64)) for c in each]),
        "subset_accuracy": np.mean([(a == b).all() for a, b in zip(y, guess, strict=True)]),
    }
    assert found.compute() == pytest.approx(expected, abs=1e-6)
    assert tuple(found.compute()) == metric_names("labels")
    assert found.confusion() == sk.multilabel_confusion_matrix(y, guess)[-size:].tolist()


def test_a_label_that_does_not_occur_is_left_out_of_macro_averages():
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])  # the second never, the third always
    probabilities = torch.tensor([[0.9, 0.9, 0.9], [0.1, 0.1, 0.2]])
    found = evaluate(Target("labels", 3), "probabilities", probabilities, "labels", labels, batches=1).compute()
    assert found["recall_macro"] == (1 + 0.5) / 2
    assert found["precision_macro"] == 1
    assert found["auroc_macro"] == found["average_precision_macro"] == 1  # only the first has both sides
    assert found["balanced_accuracy"] == 1
    assert found["accuracy"] == 4 / 6
    assert found["subset_accuracy"] == 0


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_numbers(size, scale):
    truth = (torch.randn(N, size) * scale + 5 * scale).round(decimals=4)  # at 1e-4 nearly all are tied
    values = truth + torch.randn(N, size) * scale / 2
    values[: N // 4] = values[0]
    found = evaluate(Target("scalar", size), "values", values, "values", truth)
    y, v = truth.double().numpy(), values.double().numpy()
    columns = [(y[:, c], v[:, c]) for c in range(size)]
    expected = {
        "mae": sk.mean_absolute_error(y, v),
        "rmse": np.mean([np.sqrt(sk.mean_squared_error(a, b)) for a, b in columns]),
        "r2": sk.r2_score(y, v),
        "pearson": np.mean([stats.pearsonr(a, b).statistic for a, b in columns]),
        "spearman": np.mean([stats.spearmanr(a, b).statistic for a, b in columns]),
    }
    assert found.compute() == pytest.approx(expected, rel=1e-6)
    assert tuple(found.compute()) == metric_names("scalar")
    with pytest.raises(UsageError, match="a scalar target has no confusion matrix"):
        found.confusion()


def test_an_undefined_metric_is_none():
    constant = evaluate(Target("scalar", 1), "values", torch.full((4, 1), 0.1), "values", torch.randn(4, 1))
    found = constant.compute()
    assert (found["pearson"], found["spearman"]) == (None, None)
    assert found["r2"] <= 0
    flat = evaluate(Target("scalar", 2), "values", torch.randn(4, 2), "values", torch.full((4, 2), 0.1)).compute()
    assert (flat["r2"], flat["pearson"]) == (None, None)
    single = evaluate(
        Target("classes", 2), "probabilities", torch.tensor([[0.2, 0.8]] * 3), "label", torch.tensor([1, 1, 1])
    ).compute()
    assert single["auroc_macro"] is single["average_precision_macro"] is None
    assert single["accuracy"] == single["f1_macro"] == 1
    for figures in (found, flat, single):
        json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "leaf", "true_leaf"),
    [("classes", "probabilities", "label"), ("labels", "probabilities", "labels"), ("scalar", "values", "values")],
)
@pytest.mark.parametrize("batches", [0, 1])
def test_without_samples_every_metric_is_none(kind, leaf, true_leaf, batches):
    found = metrics_of(Target(kind, 2))
    true = torch.zeros(3, dtype=torch.long) if kind == "classes" else torch.zeros(3, 2)
    for _ in range(batches):
        found.update({leaf: torch.full((3, 2), 0.5)}, {true_leaf: true, "mask": torch.zeros(3, dtype=torch.bool)})
    assert found.compute() == dict.fromkeys(metric_names(kind))
    assert (found.samples, found.without_truth) == (0, 3 * batches)


def test_without_samples_the_confusion_matrix_is_zero():
    assert metrics_of(Target("classes", 2)).confusion() == [[0, 0], [0, 0]]
    assert metrics_of(Target("labels", 1)).confusion() == [[[0, 0], [0, 0]]]


def test_of_one_sample_errors_are_defined_and_correlations_are_none():
    found = evaluate(Target("scalar", 1), "values", torch.ones(1, 1), "values", torch.zeros(1, 1), batches=1).compute()
    assert found == {"mae": 1, "rmse": 1, "r2": None, "pearson": None, "spearman": None}


def test_missing_truth_is_not_read():
    found = metrics_of(Target("classes", 3))
    found.update(
        {"probabilities": torch.tensor([[1.0, 0, 0], [float("nan")] * 3])},
        {"label": torch.tensor([0, -999]), "mask": torch.tensor([True, False])},
    )
    assert found.compute()["accuracy"] == 1


def test_only_the_named_metrics_are_computed():
    probabilities, label = classes_case()
    found = evaluate(Target("classes", 4), "probabilities", probabilities, "label", label)
    assert list(found.compute(["f1_macro"])) == ["f1_macro"]
    assert found.compute(["f1_macro"])["f1_macro"] == found.compute()["f1_macro"]
    with pytest.raises(UsageError, match=r"there is no metric acuracy of classes; did you mean accuracy\?"):
        found.compute(["acuracy"])


@pytest.mark.parametrize(
    ("kind", "probabilities", "leaf", "truth"),
    [
        ("classes", [[0.0, 1.0], [0.25, 0.75]], "label", [0, 1]),
        ("labels", [[0.0, 0.5], [0.25, 1.0]], "labels", [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_log_loss_of_probability_zero_is_bounded(kind, probabilities, leaf, truth):
    found = evaluate(
        Target(kind, 2), "probabilities", torch.tensor(probabilities), leaf, torch.tensor(truth), batches=1
    )
    never, half, three_quarters = 52 * np.log(2), np.log(2), -np.log(0.75)
    each = [never, three_quarters] if kind == "classes" else [(never + half) / 2, three_quarters / 2]
    assert found.per_sample("log_loss") == pytest.approx(each)
    assert found.compute(["log_loss"])["log_loss"] == pytest.approx(np.mean(each))


def test_predictions_that_are_not_finite_are_an_error():
    found = metrics_of(Target("scalar", 1))
    found.update(
        {"values": torch.tensor([[1.0], [float("nan")]])},
        {"values": torch.zeros(2, 1), "mask": torch.ones(2, dtype=torch.bool)},
    )
    with pytest.raises(MmkitError, match=r"1 of 2 predictions are not finite.*lower learning rate"):
        found.compute()


def test_many_ties_do_not_overflow():
    values = torch.zeros(100_001, 1)
    values[-1] = 1
    found = evaluate(Target("scalar", 1), "values", values, "values", values, batches=1)
    assert found.compute(["spearman"])["spearman"] == pytest.approx(1)


def test_whether_higher_is_better():
    for kind in ("classes", "labels", "scalar"):
        for name in metric_names(kind):
            assert higher_is_better(name) is (name not in {"log_loss", "mae", "rmse"})
    with pytest.raises(UsageError, match=r"there is no metric loss; .*Possible: accuracy, auroc_macro"):
        higher_is_better("loss")
    with pytest.raises(UsageError, match="there are no metrics for a target of kind text"):
        metrics_of(Target("text", 9))


@pytest.mark.parametrize("offset", [0, 1e3])
@pytest.mark.parametrize("scale", [1, 1e-160, 1e160])
def test_correlations_are_those_of_torchmetrics(offset, scale):
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(9, (300,), generator=generator).double() + offset
    values = truth + torch.randint(4, (300,), generator=generator)
    found = of_numbers((values * scale).unsqueeze(1), (truth * scale).unsqueeze(1))
    assert found["pearson"]() == pytest.approx(float(pearson_corrcoef(values - offset, truth - offset)), abs=1e-12)
    assert found["spearman"]() == pytest.approx(float(spearman_corrcoef(values, truth)), abs=1e-6)  # of 32 bits


def test_a_correlation_imports_no_toolkit():
    """torchmetrics takes ten seconds, as it imports torchvision and transformers."""
    code = (
        "import sys, torch; from mmkit.metrics.formulas import of_numbers; "
        "found = of_numbers(torch.rand(9, 1), torch.rand(9, 1)); found['pearson'](), found['spearman'](); "
        "sys.exit(bool({'torchmetrics', 'torchvision', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_answers_of_labels_are_counted_and_not_added_up_at_each_batch(monkeypatch):
    monkeypatch.setattr(collected, "CELLS", 20)
    metrics = collected.OfLabels(2, areas=None)
    added = []
    monkeypatch.setattr(torch.Tensor, "numel", lambda one, plain=torch.Tensor.numel: added.append(1) or plain(one))
    for _ in range(5):
        metrics.update(torch.rand(2, 2), torch.ones(2, 2))
    assert len(added) == 5
    assert metrics.influences()
    metrics.update(torch.rand(1, 2), torch.ones(1, 2))
    assert metrics.influences() == {}
