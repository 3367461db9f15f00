"""Distances of distributions, against sums over the rows that both inputs have."""

import math

import pytest
import torch

from mmkit.contract import Features, ModelOutput, Target
from mmkit.layers.discrepancy import NEAR
from mmkit.objectives.moments import MomentsObjective

TARGET = Target("classes", 3)
SEVERAL = [["image", "text"], ["audio", "image", "text"]]


def _points(objective, output, given, a, b):
    """The projections of the rows that have both."""
    places = {name: place for place, name in enumerate(output.features)}
    _, first, second = given.rows(output, a, b)
    weights = [objective.projections[places[name]].weight for name in (a, b)]
    return first.detach() @ weights[0], second.detach() @ weights[1]


def _pairs(names):
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def _length(vector):
    return math.sqrt(sum(float(d) ** 2 for d in vector) + NEAR) - math.sqrt(NEAR)


@pytest.mark.parametrize("names", SEVERAL)
def test_central_moments_are_compared(given, names):
    widths = {name: given.widths[name] for name in names}
    objective = MomentsObjective(widths, 8, TARGET, space=5, weight=0.5).double()
    output = given.output(names=names)
    terms = []
    for a, b in _pairs(names):
        first, second = (one.sigmoid() for one in _points(objective, output, given, a, b))
        means = first.mean(0), second.mean(0)
        total = _length(means[0] - means[1])
        for k in range(2, 6):
            total += _length(((first - means[0]) ** k).mean(0) - ((second - means[1]) ** k).mean(0))
        terms.append(total)
    expected = torch.full((8,), 0.5 * sum(terms) / len(terms), dtype=torch.float64)
    torch.testing.assert_close(objective(output, given.truth(8)), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("names", SEVERAL)
def test_kernels_are_compared(given, names):
    """Gaussian kernels by torch's distances."""
    widths = {name: given.widths[name] for name in names}
    objective = MomentsObjective(widths, 8, TARGET, space=5, distance="mmd", weight=0.5).double()
    output = given.output(names=names)
    terms = []
    for a, b in _pairs(names):
        first, second = _points(objective, output, given, a, b)
        every = torch.cat([first, second])
        squares = torch.cdist(every, every) ** 2
        scale = squares[~torch.eye(len(every), dtype=torch.bool)].median()
        kernel = sum(torch.exp(-squares / (times * scale)) for times in (0.5, 1, 2)) / 3
        n = len(first)
        terms.append(kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean())
    expected = torch.full((8,), 0.5 * float(sum(terms) / len(terms)), dtype=torch.float64)
    torch.testing.assert_close(objective(output, given.truth(8)), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("distance", ["cmd", "mmd"])
def test_whose_row_it_is_does_not_count(given, distance):
    """Of equal inputs, the rows of one of them in another order: the distributions are the same."""
    objective = MomentsObjective({"image": 4, "text": 4}, 8, TARGET, distance=distance).double()
    objective.projections[1].load_state_dict(objective.projections[0].state_dict())
    one = torch.randn(8, 4).double()
    features = {"image": Features.of(one), "text": Features.of(one.roll(3, 0))}
    output = ModelOutput(features, features["image"], torch.zeros(8, 3))
    assert objective(output, given.truth(8)).abs().max() < 1e-9


@pytest.mark.parametrize("distance", ["cmd", "mmd"])
def test_nothing_of_it_is_trained_and_all_is_saved(given, distance):
    """A learned projection would meet the loss by becoming constant, whatever the encoders do."""
    torch.manual_seed(0)
    objective, other = (MomentsObjective(given.widths, 8, TARGET, distance=distance) for _ in range(2))
    assert not list(objective.parameters())
    output = given.output(dtype=torch.float32)
    assert not torch.equal(other(output, given.truth(8)), objective(output, given.truth(8)))
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other(output, given.truth(8)), objective(output, given.truth(8)))
