"""Balanced accuracy a sample: the mean of the values is the metric, as scikit-learn has it."""

import pytest
import torch
from sklearn.metrics import recall_score

from mmkit.contract import Target
from mmkit.metrics.tensors import Metrics


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_the_samples_values_is_the_metric(seed):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (50,), generator=generator)  # of five classes, two do not occur
    probabilities = torch.rand(50, 5, generator=generator).softmax(-1)
    metrics = Metrics(Target("classes", 5, tuple("abcde")))
    truth = {"label": label, "mask": torch.ones(50, dtype=torch.bool)}
    metrics.update({"probabilities": probabilities}, truth)
    each = metrics.per_sample("balanced_accuracy")
    assert each is not None
    assert len(each) == 50
    expected = recall_score(label, probabilities.argmax(-1), labels=label.unique(), average="macro")
    assert sum(each) / 50 == pytest.approx(expected)
    assert metrics.compute(["balanced_accuracy"])["balanced_accuracy"] == pytest.approx(expected)
