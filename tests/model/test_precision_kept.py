"""A model predicts with the precision that it was trained with, and so gives the answers that its record measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Batch, Features
from mmkit.errors import DataError
from mmkit.testing import tiny_task
from mmkit.transforms.series import SeriesTransform

TASK = tiny_task({"picture": "image", "line": "series"}, train=32, held_out=24)
TRAINING = {"epochs": 2, "min_steps": 0, "batch_size": 8}


class Steps(nn.Module):
    """A frozen encoder of a series: a random projection of each step.

    Args:
        transform: the fitted transform.
        width: of a token.
    """

    reads = SeriesTransform
    frozen = True

    def __init__(self, transform: SeriesTransform, *, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(transform.channels, width)

    def forward(self, batch: Batch) -> Features:
        """[B T D]."""
        return Features.of(self.project(batch["steps"]), batch["mask"])


def log_loss(model: mmkit.MultimodalModel) -> float:
    """Of the test split, from the answers of `predict`."""
    test = TASK().split("test")
    rows = [{name: column[i] for name, column in test.inputs.items()} for i in range(len(test))]
    answers = model.predict(rows)
    right = [answer["probabilities"][truth] for answer, truth in zip(answers, test.truth, strict=True)]
    return float(-torch.tensor(right, dtype=torch.float64).log().mean())


@pytest.mark.parametrize("fusion", ["attention:width=16", "concat"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_predict_equals_the_record(
    precision: Literal["float32", "bfloat16"],
    frozen: bool,
    fusion: str,
    tmp_path: Path,
) -> None:
    encoders = {"line": Steps} if frozen else {}
    model, record = mmkit.fit(
        task=TASK, encoders=encoders, fusion=fusion, training=TRAINING, precision=precision, progress=False
    )
    assert log_loss(model) == pytest.approx(record.metrics["log_loss"], abs=1e-7)
    model.save(tmp_path / "model")
    loaded = mmkit.load(tmp_path / "model", components={f"{Steps.__module__}.{Steps.__qualname__}": Steps})
    assert loaded.precision == precision
    assert log_loss(loaded) == log_loss(model)


def test_the_precision_makes_a_difference_here() -> None:
    model, record = mmkit.fit(
        task=TASK, fusion="attention:width=16", training=TRAINING, precision="bfloat16", progress=False
    )
    object.__setattr__(model, "precision", "float32")
    assert abs(log_loss(model) - record.metrics["log_loss"]) > 2e-6


def test_an_unknown_precision_in_a_saved_model_is_refused(tmp_path: Path) -> None:
    model, _ = mmkit.fit(task=TASK, fusion="concat", training=TRAINING, progress=False)
    model.save(tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    for wrong in ("float8", 7):
        (tmp_path / "model" / "model.json").write_text(json.dumps({**description, "precision": wrong}))
        with pytest.raises(DataError, match="precision is not what"):
            mmkit.load(tmp_path / "model")
