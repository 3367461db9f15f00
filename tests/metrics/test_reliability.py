"""How sure answers were and how often right, bin by bin: counted while batches come, in records, and over several."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

import mmkit
from mmkit.contract import Target
from mmkit.metrics.calibration import BINS
from mmkit.metrics.tensors import metrics_of
from mmkit.records.folds import reliability_of
from mmkit.records.record import ReliabilityBin


def error(bins):
    total = sum(one.answers for one in bins)
    return sum(one.answers * abs(one.sure - one.right) for one in bins) / total


def collected(kind, probabilities, truth, size=64):
    metrics, leaf = metrics_of(Target(kind, probabilities.shape[1])), "label" if kind == "classes" else "labels"
    for part, true in zip(probabilities.split(size), truth.split(size), strict=True):
        metrics.update({"probabilities": part}, {leaf: true, "mask": torch.ones(len(true), dtype=torch.bool)})
    return metrics


def test_of_classes_the_bins_are_those_of_numpy_and_their_error_is_torchmetrics():
    torch.manual_seed(0)
    probabilities = (2 * torch.randn(1000, 4)).softmax(-1)
    truth = torch.randint(0, 4, (1000,))
    found = collected("classes", probabilities, truth).reliability()
    sure, answer = (one.numpy() for one in probabilities.max(-1))
    places = np.digitize(sure, np.linspace(0, 1, BINS + 1), right=True)
    for one, place in zip(found, sorted(set(places)), strict=True):
        here = places == place
        assert one.answers == here.sum()
        assert one.sure == pytest.approx(sure[here].mean(), rel=1e-5)
        assert one.right == pytest.approx((answer == truth.numpy())[here].mean())
    expected = multiclass_calibration_error(probabilities, truth, num_classes=4, n_bins=BINS)
    assert error(found) == pytest.approx(float(expected), abs=1e-5)


def test_of_labels_each_label_of_a_sample_is_an_answer():
    torch.manual_seed(0)
    probabilities, truth = torch.rand(300, 3), torch.randint(0, 2, (300, 3)).float()
    found = collected("labels", probabilities, truth).reliability()
    assert sum(one.answers for one in found) == 900
    assert sum(one.answers * one.right for one in found) == pytest.approx(float(truth.sum()))
    # torchmetrics reads the probability of one label, too.
    expected = binary_calibration_error(probabilities.flatten(), truth.flatten().long(), n_bins=BINS)
    assert error(found) == pytest.approx(float(expected), abs=1e-5)


def test_where_one_metric_is_collected_there_are_no_bins():
    assert metrics_of(Target("classes", 2), ["accuracy"]).reliability() == []
    assert metrics_of(Target("scalar", 1)).reliability() == []


def test_those_of_several_records_are_those_of_all_their_answers():
    torch.manual_seed(0)
    probabilities, truth = (2 * torch.randn(600, 3)).softmax(-1), torch.randint(0, 3, (600,))
    parts = [
        type("Part", (), {"reliability": [ReliabilityBin(*one) for one in collected("classes", p, t).reliability()]})
        for p, t in zip(probabilities.split(250), truth.split(250), strict=True)
    ]
    for one, expected in zip(
        reliability_of(parts), collected("classes", probabilities, truth).reliability(), strict=True
    ):
        assert (one.answers, one.sure, one.right) == pytest.approx(tuple(expected))


def test_a_record_has_those_of_its_test_split(tmp_path, everything):
    suite = mmkit.bench(task=everything, fusion="concat", training={"epochs": 1, "lr": 0.002}, seeds=1, cost=False,
                        baselines=False, progress=False, out=tmp_path)  # fmt: skip
    (record,) = [one for one in suite.records if one.purpose == "comparison"]
    assert sum(one.answers for one in record.reliability) == record.samples.test
    right = sum(one.answers * one.right for one in record.reliability) / record.samples.test
    assert right == pytest.approx(record.metrics["accuracy"])
