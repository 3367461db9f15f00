"""Classes in the terminal: recall, what they are taken for, and calibration; all of a few, the worst of many."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from rich.console import Console
from torchmetrics.functional.classification import multiclass_calibration_error

from mmkit.metrics.calibration import Bins
from mmkit.records.record import ReliabilityBin
from mmkit.records.verdicts import Terms
from mmkit.report.classes import calibration_error, classes_sheet
from mmkit.report.sheets import sheets
from mmkit.report.summary import rows
from mmkit.report.tables import show
from tests.report.records import record


def row_of(matrix, names, **rest):
    return rows([record("late", 0, 0.9, names=names, confusion=matrix, **rest)])[0]


def test_each_class_has_its_recall_and_what_it_is_taken_for():
    sheet = classes_sheet(row_of([[8, 1, 1], [0, 5, 5], [0, 0, 4]], ["cat", "dog", "cow"]))
    assert sheet.figures == ["samples", "recall", "precision", "F1", "taken for"]
    assert sheet.lines == [
        ["cat", "10", "80.0", "100.0", "88.9", "dog 10.0"],
        ["dog", "10", "50.0", "83.3", "62.5", "cow 50.0"],
        ["cow", "4", "100.0", "40.0", "57.1", "-"],
    ]
    assert "calibration" not in sheet.title


def test_of_many_classes_the_worst_are_told():
    recalls = np.linspace(0.2, 0.9, 30)
    matrix = np.diag((recalls * 100).astype(int))
    matrix[:, 0] += 100 - matrix.sum(1)
    matrix[7] = 0  # not in test
    sheet = classes_sheet(row_of(matrix.tolist(), [f"number {at}" for at in range(30)]))
    assert "the 5 of 30 that are found least" in sheet.title
    assert [line[0] for line in sheet.lines] == [f"number {at}" for at in (1, 2, 3, 4, 5)]
    assert sheet.lines[0][-1].startswith("number 0 ")


def test_labels_have_no_class_that_they_are_taken_for():
    sheet = classes_sheet(row_of([[[30, 5], [1, 4]], [[38, 0], [2, 0]]], ["spot", "line"]))
    assert sheet.figures == ["samples", "recall", "precision", "F1"]
    assert sheet.lines == [["spot", "5", "80.0", "44.4", "57.1"], ["line", "2", "0.0", "-", "0.0"]]


def test_numbers_have_none():
    assert classes_sheet(rows([record("late", 0, 0.9)])[0]) is None


def test_the_calibration_error_is_that_of_torchmetrics():
    torch.manual_seed(0)
    probabilities = (torch.randn(500, 4) * 2).softmax(-1)
    labels = torch.randint(0, 4, (500,))
    bins = Bins()
    bins.add(probabilities, labels)
    expected = multiclass_calibration_error(probabilities, labels, num_classes=4, n_bins=15)
    found = calibration_error([ReliabilityBin(*one) for one in bins.filled()])
    assert found == pytest.approx(float(expected), abs=1e-5)
    assert calibration_error([]) is None


def test_they_are_shown_in_the_full_protocol_and_fit_eighty_columns():
    names = ["a rather long name of a class, with more", "b"]
    records = [
        record(
            "late", seed, 0.9, names=names, confusion=[[8, 2], [3, 7]], reliability=[ReliabilityBin(20, 0.8, 0.75)]
        )
        for seed in (0, 1)
    ]  # fmt: skip
    assert not any("Classes of" in sheet.title for sheet in sheets(rows(records), Terms()))
    stream = io.StringIO()
    show(rows(records), Console(file=stream, width=80, force_terminal=True, no_color=True), Terms(protocol="full"))
    text = stream.getvalue()
    assert "calibration error (ECE) 5.0" in text
    assert "b 20.0" in text
    assert "a rather long name … 30.0" in text


def test_calibration_is_of_the_fresh_seeds_that_the_counts_are_of():
    def made(seed, phase, right):
        bins = [ReliabilityBin(20, 0.8, right)]
        return record("late", seed, 0.9, names=["a", "b"], confusion=[[8, 2], [3, 7]], phase=phase, reliability=bins)

    fresh, raced = [made(seed, "confirm", 0.75) for seed in (5, 6)], [made(seed, "search", 0.1) for seed in (0, 1)]
    sheet = classes_sheet(rows([*fresh, *raced])[0])
    assert sheet.title.endswith("; calibration error (ECE) 5.0")
    assert [line[1] for line in sheet.lines] == ["10", "10"]
