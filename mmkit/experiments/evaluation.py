"""Evaluation of a model's predictions of a split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mmkit.contract import TruthTransform
from mmkit.data.dataset import Dataset
from mmkit.metrics.answers import HEAD_LOSS, Answers, measures_of
from mmkit.metrics.tensors import Metrics, measured_as_tensors, metrics_of
from mmkit.model.network import Model
from mmkit.model.prediction import losses_of_samples, predictions
from mmkit.system.precision import Precision


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
        metrics = metrics_of(target)
        for prediction, truth in predictions(module, data, precision):
            metrics.update(prediction, truth)
        return metrics
    losses, known = losses_of_samples(module, data, precision)
    answers = None
    if names is None or set(names) != {HEAD_LOSS}:
        answers = [a for given, _ in predictions(module, data, precision) for a in transform.inverse(given)]
    return Answers(measures_of(transform, target.kind), losses, known, truths, answers)
