"""Pseudo-scores: their mean is the metric, their standard error that of a brute-force jackknife."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk

from mmkit.contract import Target
from mmkit.metrics import curves, texts
from mmkit.metrics.answers import Answers
from mmkit.metrics.tensors import metric_names, metrics_of

N = 240
CASES = json.loads((Path(__file__).parents[1] / "report" / "data" / "verdicts.json").read_text())["pseudo_scores"]
LEAVES = {"classes": ("probabilities", "label"), "labels": ("probabilities", "labels"), "scalar": ("values", "values")}


def collected(kind, prediction, truth):
    size = prediction.shape[1]
    found = metrics_of(Target(kind, size, tuple(map(str, range(size)))))
    predicted, true = LEAVES[kind]
    found.update({predicted: prediction}, {true: truth, "mask": torch.ones(len(prediction), dtype=torch.bool)})
    return found


def tensors(case):
    if case["kind"] == "classes":
        return torch.tensor(case["probabilities"], dtype=torch.float64), torch.tensor(case["label"])
    if case["kind"] == "labels":
        return torch.tensor(case["probabilities"], dtype=torch.float64), torch.tensor(case["labels"])
    return tuple(torch.tensor(case[name], dtype=torch.float64)[:, None] for name in ("prediction", "truth"))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(case, one, id=f"{case['kind']}-{one['metric']}")
        for case in CASES
        if case["kind"] != "text"
        for one in case["metrics"]
    ],
)
def test_cases_computed_elsewhere(case, expected):
    found = collected(case["kind"], *tensors(case))
    name = expected["metric"]
    assert found.compute([name])[name] == pytest.approx(expected["value"], rel=1e-6)
    assert found.per_sample(name) == pytest.approx(expected["pseudo_scores"], rel=1e-6, abs=1e-9)


def test_the_case_of_bleu():
    from mmkit.metrics.influence import of_bleu

    (case,) = [case for case in CASES if case["kind"] == "text"]
    (expected,) = case["metrics"]
    psi = of_bleu(torch.tensor(case["stats"]))
    assert (psi + expected["value"]).tolist() == pytest.approx(expected["pseudo_scores"], rel=1e-6)


def classes():
    draw = np.random.default_rng(0)
    label = draw.choice(4, N, p=[0.5, 0.3, 0.15, 0.05])
    logits = draw.standard_normal((N, 4)) + 1.2 * np.eye(4)[label]
    return torch.tensor(np.exp(logits) / np.exp(logits).sum(1, keepdims=True)), torch.tensor(label)


def labels():
    draw = np.random.default_rng(1)
    yes = draw.random((N, 3)) < [0.5, 0.3, 0.15]
    return torch.tensor(1 / (1 + np.exp(-(draw.standard_normal((N, 3)) + 2 * yes - 1)))), torch.tensor(yes).long()


def numbers():
    draw = np.random.default_rng(2)
    truth = draw.standard_t(5, (N, 2))
    return torch.tensor(0.7 * truth + draw.standard_normal((N, 2)) * 0.6), torch.tensor(truth)


def ties():
    prediction, truth = numbers()
    return prediction.round(), truth.round()


@pytest.mark.parametrize(
    ("kind", "made", "name"),
    [(kind, made, name) for kind, made in (("classes", classes), ("labels", labels), ("scalar", numbers),
     ("scalar", ties)) for name in metric_names(kind)],
)  # fmt: skip
def test_the_mean_is_the_metric_and_the_standard_error_that_of_leaving_one_out(kind, made, name):
    prediction, truth = made()
    found = collected(kind, prediction, truth)
    value, each = found.compute([name])[name], np.array(found.per_sample(name))
    assert each.mean() == pytest.approx(value, abs=1e-6)
    left = [
        collected(kind, prediction[rest], truth[rest]).compute([name])[name]
        for rest in (torch.arange(N) != place for place in range(N))
    ]
    jackknife = math.sqrt((N - 1) / N * sum((one - np.mean(left)) ** 2 for one in left))
    assert each.std(ddof=1) / math.sqrt(N) == pytest.approx(jackknife, rel=0.06)
    assert np.corrcoef(each, -np.array(left))[0, 1] > 0.99


def test_values_of_metrics_are_those_of_scikit_learn_and_scipy():
    probabilities, label = classes()
    found, answer = collected("classes", probabilities, label), probabilities.argmax(1)
    assert np.mean(found.per_sample("f1_macro")) == pytest.approx(sk.f1_score(label, answer, average="macro"))
    area = sk.roc_auc_score(label, probabilities, multi_class="ovr")
    assert np.mean(found.per_sample("auroc_macro")) == pytest.approx(area, abs=1e-6)
    prediction, truth = numbers()
    found = collected("scalar", prediction[:, :1], truth[:, :1])
    rank = stats.spearmanr(prediction[:, 0], truth[:, 0]).statistic
    assert np.mean(found.per_sample("spearman")) == pytest.approx(rank)
    error = sk.root_mean_squared_error(truth[:, 0], prediction[:, 0])
    assert np.mean(found.per_sample("rmse")) == pytest.approx(error)


def test_the_standard_error_of_an_area_is_that_of_every_pair_compared():
    probabilities, yes = (tensor[:, :1] for tensor in labels())
    each = np.array(collected("labels", probabilities, yes).per_sample("auroc_macro"))
    p, y = probabilities[:, 0].float().numpy(), yes[:, 0].numpy() > 0
    won = (p[y][:, None] > p[~y]) + (p[y][:, None] == p[~y]) / 2  # DeLong's components, pair by pair
    variance = won.mean(1).var(ddof=1) / y.sum() + won.mean(0).var(ddof=1) / (~y).sum()
    assert each.var(ddof=1) / N == pytest.approx(variance, rel=0.02)


def test_a_class_that_is_predicted_and_does_not_occur_counts_against_the_one_that_was_meant():
    probabilities = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1, 2]]
    label = torch.tensor([0, 0, 1, 1, 1])
    found = collected("classes", probabilities, label)
    for name in ("f1_macro", "precision_macro", "recall_macro"):
        assert np.mean(found.per_sample(name)) == pytest.approx(found.compute([name])[name])


@pytest.mark.parametrize("name", ["pearson", "spearman", "r2"])
def test_where_a_metric_is_not_defined_there_are_none(name):
    prediction, _ = numbers()
    assert collected("scalar", prediction, torch.ones_like(prediction)).per_sample(name) is None


def test_a_perfect_prediction_has_no_spread():
    _, truth = numbers()
    found = collected("scalar", truth, truth)
    for name, value in (("rmse", 0), ("mae", 0), ("r2", 1), ("pearson", 1)):
        assert found.per_sample(name) == pytest.approx([value] * N, abs=1e-6)


def test_samples_that_were_counted_in_bins_have_none(monkeypatch):
    monkeypatch.setattr(curves, "CELLS", 100)
    assert collected("classes", *classes()).per_sample("auroc_macro") is None


TRUTHS = ["a black cat sat on the mat", "two dogs run over a field", "the red car is in the street",
          "a man with a hat plays the drum", "a bird on a tree in the sun"]  # fmt: skip
ANSWERS = ["a black cat sat on a mat", "two dogs run in a field", "the red car in the street",
           "a man with a hat plays a drum", "a bird on a tree"]  # fmt: skip


def said(truths, answers):
    known = torch.ones(len(truths), dtype=torch.bool)
    return Answers(texts.MEASURES, torch.zeros(len(truths)), known, truths, [{"text": one} for one in answers])


def test_bleu_is_the_mean_and_leaving_one_out_gives_its_standard_error():
    pytest.importorskip("sacrebleu")
    truths, answers = TRUTHS * 12, ANSWERS * 12
    found = said(truths, answers)
    each = np.array(found.per_sample("bleu"))
    assert each.mean() == pytest.approx(found.compute(["bleu"])["bleu"], abs=1e-6)
    count = len(truths)
    left = [
        said(truths[:at] + truths[at + 1 :], answers[:at] + answers[at + 1 :]).compute(["bleu"])["bleu"]
        for at in range(count)
    ]
    jackknife = math.sqrt((count - 1) / count * sum((one - np.mean(left)) ** 2 for one in left))
    assert each.std(ddof=1) / math.sqrt(count) == pytest.approx(jackknife, rel=0.06)


def test_bleu_that_is_smoothed_has_none():
    pytest.importorskip("sacrebleu")
    assert said(["a black cat"], ["two white dogs"]).per_sample("bleu") is None
