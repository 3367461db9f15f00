"""Which epochs are averaged, and that no average is kept that validation does not find better."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from mmkit.contract import ModelOutput
from mmkit.data.dataset import Dataset
from mmkit.data.whole import Whole
from mmkit.training.averaging import Best
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training


def weight_of(epoch):
    return {"weight": torch.tensor([[float(epoch)]])}


def kept(scores, most):
    best = Best(most)
    for epoch, score in enumerate(scores, start=1):
        best.add(epoch, score, partial(weight_of, epoch))
    return best


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_the_best_epochs_are_kept_and_of_equal_ones_the_first(most):
    scores = [2.0, 5.0, -math.inf, 5.0, math.nan, 1.0, 4.0]
    order = sorted((n for n, s in enumerate(scores, 1) if s > -math.inf), key=lambda n: (-scores[n - 1], n))
    best = kept(scores, most)
    assert [one.epoch for one in best.checkpoints] == order[:most]
    assert best.epoch == 2


def test_no_weights_are_copied_that_are_not_kept():
    best = kept([3.0], 1)
    best.add(2, 1.0, lambda: pytest.fail("copied"))


class Weight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))


@pytest.mark.parametrize(("aim", "epochs"), [(2.0, [2]), (1.5, [2, 1]), (2.4, [2, 3]), (2.1, [2])])
def test_an_average_is_kept_where_validation_gains(aim, epochs):
    """Epoch n has the weight n; validation asks how near the weight is to an aim, and finds 2 the nearest of the three.

    1.5 is the mean of 2 and 1; of 2.4, that of 2 and 3 is nearer than 2; of 2.1, no mean is.
    """
    module = Weight()

    def validate():
        return -abs(module.weight.item() - aim), {}

    scores = {n: -abs(n - aim) for n in (2, 1, 3)}
    best = Best(3)
    for n in sorted(scores, key=lambda n: (-scores[n], n != 2)):
        best.add(n, scores[n] + (1e-9 if n == 2 else 0), partial(weight_of, n))
    assert best.restore(module, validate) == epochs
    assert module.weight.item() == pytest.approx(np.mean(epochs))


class Line(nn.Module):
    balance = None

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, batch, truth):
        error = batch["x"]["x"] * self.w - truth["values"]
        return {"head": error.square().mean()}, ModelOutput({}, None, error)


def line(scores, **options):
    x = torch.linspace(-1, 1, 16)
    mask = torch.ones(16, dtype=torch.bool)
    step, seen = Line(), []

    def validate():
        seen.append(step.w.item())
        return scores[len(seen) - 1], {}

    training = Training(epochs=3, min_steps=0, lr=0.1, **options)
    data = Dataset(16, {"x": Whole({"x": x, "mask": mask})}, {"values": 3 * x, "mask": mask})
    return fit(step, data, validate, training, seed=0, start_counts=True), step, seen


def test_the_start_is_a_candidate():
    trained, step, seen = line([4.0, 3.0, 2.0, 1.0])
    assert (trained.best, trained.averaged, step.w.item()) == (0, [0], 0.0)
    assert [entry["epoch"] for entry in trained.history] == [0, 1, 2, 3]
    assert trained.history[0]["loss"] is None
    trained, step, seen = line([1.0, 3.0, 2.0, 1.0])
    assert (trained.best, step.w.item()) == (1, seen[1])


def test_training_ends_with_the_average():
    # Epochs 0 to 3, then epoch 2 with 3 (better), then those with 1 (worse).
    trained, step, seen = line([0.0, 1.0, 3.0, 2.0, 4.0, 0.0], average=3)
    assert (trained.best, trained.averaged) == (2, [2, 3])
    assert step.w.item() == pytest.approx((seen[2] + seen[3]) / 2)
