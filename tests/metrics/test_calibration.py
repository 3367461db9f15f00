"""Log loss and expected calibration error, against torchmetrics and scikit-learn."""

import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from mmkit.metrics.calibration import calibration


def batches(probabilities, truth, size=30):
    for at in range(0, len(probabilities), size):
        part = slice(at, at + size)
        yield {"probabilities": probabilities[part]}, {name: leaf[part] for name, leaf in truth.items()}


def test_classes():
    generator = torch.Generator().manual_seed(0)
    probabilities = (2 * torch.randn(200, 3, generator=generator)).softmax(-1)
    label = torch.randint(3, (200,), generator=generator)
    mask = torch.rand(200, generator=generator) < 0.8
    (found,) = calibration(batches(probabilities, {"label": label, "mask": mask}), "classes", [None])
    p, y = probabilities[mask], label[mask]
    expected = multiclass_calibration_error(p, y, num_classes=3, n_bins=15, norm="l1")
    assert found.ece == pytest.approx(float(expected), abs=1e-6)
    assert found.log_loss == pytest.approx(float(torch.nn.functional.nll_loss(p.log(), y)), rel=1e-5)


def test_labels():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(200, 4, generator=generator)
    labels = (torch.rand(200, 4, generator=generator) < probabilities**2).float()
    truth = {"labels": labels, "mask": torch.ones(200, dtype=torch.bool)}
    (found,) = calibration(batches(probabilities, truth), "labels", [None])
    expected = binary_calibration_error(probabilities.flatten(), labels.flatten().long(), n_bins=15, norm="l1")
    assert found.ece == pytest.approx(float(expected), abs=1e-6)
    expected = torch.nn.functional.binary_cross_entropy(probabilities, labels)
    assert found.log_loss == pytest.approx(float(expected), rel=1e-5)


def test_several_ways_see_the_same_predictions_once():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    truth = {"label": torch.tensor([0, 1]), "mask": torch.ones(2, dtype=torch.bool)}
    seen = []

    def once():
        for batch in batches(probabilities, truth):
            seen.append(1)
            yield batch

    plain, turned = calibration(
        once(), "classes", [None, lambda given: {"probabilities": given["probabilities"].flip(1)}]
    )
    assert len(seen) == 1
    assert plain.log_loss < turned.log_loss
    # 0.9 and right, 0.6 and wrong: |0.9 - 1| / 2 + |0.6 - 0| / 2
    assert plain.ece == pytest.approx(0.35)
