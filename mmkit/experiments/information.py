"""What the answers of a trained model tell of the truth, in bits, sample by sample.

Of classes and labels it is by how much likelier the model makes the truth than one that knows no input and answers with
the frequencies of the training split; the mean over samples is the information that such models can use of the inputs
(Xu et al., "A Theory of Usable Information under Computational Constraints", ICLR 2020,
https://arxiv.org/abs/2002.10689; of single samples Ethayarajh et al., "Understanding Dataset Difficulty with V-Usable
Information", ICML 2022, https://arxiv.org/abs/2110.08420). The model is given the temperature that is best on
validation first: one that is too sure of itself would seem to know less than it does.

Of a number it is the information of a Gaussian with the model's share of explained variance, -log2(1 - R2) / 2: pseudo-
scores, whose mean it is and whose spread over samples is its own (the delta method).

Axes: N samples with truth, C size of the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from mmkit.contract import Batch, Target, TruthTransform
from mmkit.data.dataset import Dataset
from mmkit.metrics.answers import Answers
from mmkit.metrics.tensors import Metrics, metrics_of
from mmkit.model.network import Model
from mmkit.model.prediction import predictions
from mmkit.model.temperature import has_temperature
from mmkit.system.precision import Precision
from mmkit.training.calibrating import fitted_temperature


def bits_of(
    on_test: Metrics | Answers,
    model: Model,
    transform: TruthTransform,
    train: Sequence[Any],
    validation: Dataset,
    test: Dataset,
    precision: Precision,
) -> list[float] | None:
    """[N] bits of each test sample with truth; None of several numbers, of texts, and where a metric is not defined.

    Args:
        on_test: the predictions of test, measured.
        model: trained.
        transform: of the truth.
        train: the truth of the training split, without missing.
        validation: the split, which gives the temperature.
        test: the split.
        precision: of the forward pass.
    """
    if isinstance(on_test, Answers):
        return None
    target = on_test.target
    if not has_temperature(target.kind):
        return _of_number(on_test) if target.size == 1 else None
    temperature = fitted_temperature(predictions(model, validation, precision), target.kind)
    frequencies = _frequencies(target, transform(train))
    ours, ignorant = (metrics_of(target, ["log_loss"]) for _ in range(2))
    for prediction, truth in predictions(model, test, precision):
        ours.update(temperature(prediction), truth)
        ignorant.update({"probabilities": frequencies.expand(len(truth["mask"]), -1)}, truth)
    with_inputs, without = ours.per_sample("log_loss"), ignorant.per_sample("log_loss")
    if with_inputs is None or without is None:
        return None
    return [(b - a) / math.log(2) for a, b in zip(with_inputs, without, strict=True)]


def _frequencies(target: Target, train: Batch) -> torch.Tensor:
    """[C]: how often each class or label is true in training; no label is certain or impossible."""
    known = train["mask"]
    if target.kind == "classes":
        counts = train["label"][known].bincount(minlength=target.size)
        return (counts / counts.sum()).float()
    least = 1 / (int(known.sum()) + 2)  # by the rule of succession, where a label was always there, or never
    return train["labels"][known].float().mean(0).clamp(least, 1 - least)


def _of_number(on_test: Metrics) -> list[float] | None:
    explained = on_test.compute(["r2"])["r2"]
    scores = on_test.per_sample("r2")
    if explained is None or scores is None or explained >= 1:
        return None
    bits, slope = -0.5 * math.log2(1 - explained), 0.5 / (math.log(2) * (1 - explained))
    return [bits + slope * (score - explained) for score in scores]
