"""Bits of test samples: against the log loss that a user would compute, and of numbers against a Gaussian."""

from __future__ import annotations

import math
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch

import mmkit
from mmkit.contract import Target
from mmkit.data.splits import splits_of
from mmkit.experiments.beside import Beside
from mmkit.experiments.information import _of_number, bits_of
from mmkit.experiments.plan import plan
from mmkit.experiments.protocol import Protocol, split_of
from mmkit.experiments.run import execute
from mmkit.metrics.tensors import metrics_of
from mmkit.records.record import Record
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings


def run_of(task, **training):
    (run,) = plan(
        installed(), task=task, fusions=["concat"], seeds=1, baselines=False,
        training={"epochs": 4, "min_steps": 0, "lr": 0.01, **training},
    ).runs()  # fmt: skip
    return run


def test_bits_are_how_much_likelier_the_truth_is_than_by_frequencies(tmp_path):
    run = run_of("synthetic-redundant:train=96,modality=table", calibrate=True)
    record, model = execute(run, beside=Beside(bits=True))
    splits = splits_of(run.task, installed(), Settings("cpu"))
    train, test = splits("train"), splits("test")
    counts = Counter(train.truth)
    answers = model.predict(
        [dict(zip(test.inputs, row, strict=True)) for row in zip(*test.inputs.values(), strict=True)]
    )
    expected = [
        math.log2(answer["probabilities"][truth] / (counts[truth] / len(train.truth)))
        for answer, truth in zip(answers, test.truth, strict=True)
    ]
    # With its own temperature of validation, the best further one is 1.
    assert list(record.bits) == pytest.approx(expected, abs=1e-3)
    plain, _ = execute(run)
    assert plain.bits is None
    assert plain.metrics == record.metrics
    record.bits.write(tmp_path / record.bits_file)
    again = Record.of({**record.document(), "scores": None}, tmp_path)
    assert again.bits == record.bits
    with pytest.raises(ValueError, match="bits: expected scores/"):
        Record.of({**record.document(), "scores": None, "bits": "elsewhere.npy"}, tmp_path)


class Tagged:
    """Labels of which one is on every sample of training, and lacks on one of test."""

    description = "Labels."
    inputs, target, metric = {"row": "table", "other": "table"}, "labels", "accuracy"
    encoders = dict.fromkeys(inputs, "table-mlp:hidden=8,layers=1")
    training: ClassVar = {"epochs": 1, "min_steps": 0, "lr": 0.01}

    def split(self, name):
        count = {"train": 62, "validation": 32, "test": 16}[name]
        truth = [["photo", "dark"] if place % 2 else ["photo"] for place in range(count)]
        if name == "test":
            truth[0] = []
        rows = [{"x": float(place % 2)} for place in range(count)]
        return mmkit.Samples([f"{name}{place}" for place in range(count)], dict.fromkeys(self.inputs, rows), truth)


def test_to_know_frequencies_is_not_to_hold_a_label_for_impossible():
    (run,) = plan(installed(), task=Tagged, fusions=["concat"], seeds=1, baselines=False).runs()
    record, _ = execute(run, beside=Beside(bits=True))
    # All of 62 samples had one label: the next lacks it with probability 1 / 64, by the rule of succession. The other
    # was on half of them. So the mean over both labels is at most (log2 64 + log2 2) / 2, were the model sure.
    assert max(record.bits) < (6 + 1) / 2


def test_of_a_number_they_are_those_of_the_explained_variance():
    draw = np.random.default_rng(0)
    truth = draw.normal(size=4000) * 2
    given = torch.tensor(truth / 2 + draw.normal(size=4000) * 0.5)[:, None]
    metrics = metrics_of(Target("scalar", 1, ("age",)))
    metrics.update(
        {"values": given}, {"values": torch.tensor(truth)[:, None], "mask": torch.ones(4000, dtype=torch.bool)}
    )
    bits = _of_number(metrics)
    error = ((given[:, 0].numpy() - truth) ** 2).mean()
    assert np.mean(bits) == pytest.approx(0.5 * math.log2(truth.var() / error), abs=1e-6)

    def whole(rows):
        error = ((given[rows, 0].numpy() - truth[rows]) ** 2).mean()
        return 0.5 * math.log2(truth[rows].var() / error)

    resampled = [whole(draw.integers(0, 4000, 4000)) for _ in range(400)]
    assert np.std(bits) / math.sqrt(4000) == pytest.approx(np.std(resampled), rel=0.15)


def test_several_numbers_have_none():
    metrics = metrics_of(Target("scalar", 2, ("a", "b")))
    values = torch.randn(20, 2)
    metrics.update({"values": values}, {"values": values, "mask": torch.ones(20, dtype=torch.bool)})
    assert bits_of(metrics, None, None, [], None, None, "float32") is None


@pytest.mark.parametrize(("protocol", "expected"), [("full", {("confirm", True)}), ("quick", {("confirm", False)})])
def test_what_is_confirmed_in_full_has_bits(protocol, expected):
    asked = plan(installed(), task="synthetic-unique:train=48", fusions=["concat"], seeds=2, protocol=protocol)
    split = split_of(asked.runs()[0].splits(installed()))
    of = Protocol(asked, split, {}, {}, None, None, None, None)
    every = [of.of(one, "confirm", 0, tested=True) for one in asked.all]
    assert {(one.phase, one.informed) for one in every} == expected
    assert {one.controlled for one in every if one.run.combination in asked.baselines} == {False}
    assert not of.of(asked.combinations[0], "search", 0, tested=True).informed
