"""The temperature of a trained model, from a table to its answers: against scipy's on its own answers, and by
torchmetrics' calibration error on rows that nobody has seen.
"""

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

import mmkit
from mmkit.report.card import notes

LABELS = ("a", "b", "c")
TRAINING = {"calibrate": True, "epochs": 25, "min_steps": 0, "lr": 0.01, "batch_size": 32}
UNSURE = ["head.label_smoothing=0.5"]
"""It makes probabilities far less sure than they should be, so a temperature has something to mend."""


def rows(kind, count, seed):
    """Three numbers; of each the probability of its label, or all of that of the class, is known."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((count, 3))
    data: dict[str, Any] = {f"n{i}": values[:, i] for i in range(3)}
    if kind == "labels":
        truth = generator.random((count, 3)) < 1 / (1 + np.exp(-values))
        data["y"] = [[name for name, has in zip(LABELS, row, strict=True) if has] for row in truth]
        return data, truth.astype(int)
    if kind == "stars":  # ordinal: five stars are classes
        truth = np.clip(np.round(3 + values[:, 0] + generator.standard_normal(count)), 1, 5).astype(int)
        data["y"] = truth
        return data, truth - 1
    data["y"] = values[:, 0] + generator.standard_normal(count)
    return data, data["y"]


def trained(kind, out=None, **training):
    data, truth = rows(kind, 600, 0)
    model, record = mmkit.fit(
        data=data,
        target="y",
        fusion="only:table",
        encoders={"table": "table-mlp"},
        options=UNSURE if kind != "amounts" else (),
        training=TRAINING | training,
        progress=False,
        device="cpu",
        out=out,
    )
    return model, record, data, truth


def probabilities(model, data, kind):
    (table,) = model.answers({name: column[:4000] for name, column in data.items()})
    names = LABELS if kind == "labels" else "12345"
    return np.stack([np.asarray(table[f"probability_{name}"], dtype=float) for name in names], 1)


def plain(model):
    """The model without its temperature."""
    model.module.temperature, before = None, model.module.temperature
    return before


def log_loss(p, truth, kind):
    if kind == "labels":
        return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    return -np.log(p[np.arange(len(p)), truth]).mean()


def tempered(p, temperature, kind):
    if kind == "labels":
        return 1 / (1 + ((1 - p) / p) ** (1 / temperature))
    q = p ** (1 / temperature)
    return q / q.sum(1, keepdims=True)


def error_of(p, truth, kind):
    p, truth = torch.tensor(p), torch.tensor(truth)
    if kind == "labels":
        return float(binary_calibration_error(p.flatten(), truth.flatten(), n_bins=15, norm="l1"))
    return float(multiclass_calibration_error(p, truth, num_classes=5, n_bins=15, norm="l1"))


@pytest.mark.parametrize("kind", ["labels", "stars"])
def test_it_is_scipys_of_the_rows_of_validation_and_holds_for_new_rows(kind):
    model, record, data, truth = trained(kind)
    new, new_truth = rows(kind, 3000, 1)
    after = probabilities(model, new, kind)
    temperature = plain(model)
    assert record.calibrated.temperature == temperature.value
    before = probabilities(model, new, kind)
    assert after == pytest.approx(tempered(before, temperature.value, kind), abs=1e-5)

    side = mmkit.inspect(data, target="y").sides == 1
    p = probabilities(model, data, kind)[side]
    best = optimize.minimize_scalar(
        lambda t: log_loss(tempered(p, t, kind), truth[side], kind), bounds=(0.05, 20), method="bounded"
    ).x
    assert temperature.value == pytest.approx(best, rel=1e-3)

    assert log_loss(after, new_truth, kind) < log_loss(before, new_truth, kind)
    assert error_of(after, new_truth, kind) < error_of(before, new_truth, kind)
    # The record's figures of test are those of the answers to its rows.
    test = mmkit.inspect(data, target="y").sides == 2
    of_test = tempered(probabilities(model, data, kind)[test], temperature.value, kind)
    assert record.calibrated.after["test"].ece == pytest.approx(error_of(of_test, truth[test], kind), abs=1e-5)
    assert record.calibrated.after["test"].log_loss == pytest.approx(log_loss(of_test, truth[test], kind), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("labels", "The probabilities of all labels have temperature"),
        ("stars", "Probabilities have temperature"),
        ("amounts", "Answers have no probabilities, so nothing is calibrated"),
    ],
)
def test_the_card_says_what_is_calibrated(kind, told, tmp_path):
    model, record, _, _ = trained(kind, tmp_path / kind, epochs=1)
    assert any(told in note for note in notes(record))
    assert told in (tmp_path / kind / "README.md").read_text()
    held = json.loads((tmp_path / kind / "model.json").read_text())["temperature"]
    assert (held is None) == (kind == "amounts") == (model.module.temperature is None)
