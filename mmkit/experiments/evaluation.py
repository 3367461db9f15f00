"""Evaluation of a model's predictions of a split.

Axes: N samples, B batch, C size of the target.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Batch, TruthTransform
from mmkit.data.dataset import Dataset
from mmkit.metrics.answers import HEAD_LOSS, Answers, measures_of
from mmkit.metrics.tensors import Metrics, leaves_of, measured_as_tensors, metrics_of
from mmkit.model.network import Model
from mmkit.model.prediction import losses_of_samples, predictions
from mmkit.system.precision import Precision
from mmkit.transforms.truth import numbers_of


def evaluate(
    module: Model,
    transform: TruthTransform,
    data: Dataset,
    truths: Sequence[Any],
    *,
    precision: Precision,
    names: Collection[str] | None = None,
) -> Metrics | Answers:
    """Predict a split and collect the predictions, from which metrics can be computed.

    Args:
        module: the model.
        transform: of the truth; its inverse gives answers, for kinds of target that `Answers` measures.
        data: the split.
        truths: its raw truth.
        precision: of the forward pass.
        names: of the metrics that will be computed, to save other work; None is all.
    """
    target = transform.target()
    if measured_as_tensors(target.kind):
        metrics = metrics_of(target, names)
        start = 0
        for prediction, truth in predictions(module, data, precision):
            if target.kind == "scalar":
                raw = truths[start : (start := start + len(truth["mask"]))]
                metrics.update({"values": answered_numbers(transform.inverse(prediction))}, _known(raw, target.size))
            else:
                metrics.update(prediction, truth)
        return metrics
    losses, known = losses_of_samples(module, data, precision)
    answers = None
    if names is None or set(names) != {HEAD_LOSS}:
        answers = [a for given, _ in predictions(module, data, precision) for a in transform.inverse(given)]
    return Answers(measures_of(transform, target.kind), losses, known, truths, answers)


def answers_of(module: Model, transform: TruthTransform, data: Dataset, precision: Precision) -> Tensor:
    """[N C] what a model answers: probabilities of classes or labels, else numbers as the user gets them.

    Args:
        module: the model.
        transform: of the truth; of a kind that is measured as tensors.
        data: the split.
        precision: of the forward pass.
    """
    kind = transform.target().kind
    leaf = leaves_of(kind)[0]
    given = (prediction for prediction, _ in predictions(module, data, precision))
    if kind == "scalar":
        return torch.cat([answered_numbers(transform.inverse(prediction)) for prediction in given])
    return torch.cat([prediction[leaf] for prediction in given])


def answered_numbers(answers: Sequence[Any]) -> Tensor:
    """[B C] float64 of the answers to a scalar: what the user gets is what is measured."""
    rows = [answer["values"] if "values" in answer else [answer["value"]] for answer in answers]
    return torch.tensor(rows, dtype=torch.float64)


def _known(truths: Sequence[Any], size: int) -> Batch:
    """`values` [B C] float64 of the raw truth of a scalar, which a batch would round to float32, and `mask` [B]."""
    rows = [[0.0] * size if truth is None else numbers_of(truth) for truth in truths]
    return {
        "values": torch.tensor(rows, dtype=torch.float64),
        "mask": torch.tensor([truth is not None for truth in truths], dtype=torch.bool),
    }
