import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.layers.pairs import centred
from mmkit.objectives.vicreg import VicregObjective

TARGET = Target("classes", 3)


def perturbed(objective):
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return objective.double()


@torch.no_grad()
def slow(objective, output, given, weights):
    """With torch's batch normalisation in the projectors, and one pair of features after the other."""
    names = list(output.features)
    points = {}
    for name, projector in zip(names, objective.projectors, strict=True):
        there = output.features[name].present()
        hidden = projector.hidden(output.features[name].vector()[there])
        normal = nn.BatchNorm1d(hidden.shape[1]).double().train()
        normal.weight.copy_(projector.scale)
        normal.bias.copy_(projector.shift)
        rows = torch.full((len(there), hidden.shape[1]), torch.nan, dtype=torch.float64)
        rows[there] = projector.out(normal(hidden).relu())
        points[name] = rows
    terms = []
    for x, a in enumerate(names):
        for b in names[x + 1 :]:
            kept, *_ = given.rows(output, a, b)
            first, second = points[a][kept], points[b][kept]
            size, n = first.shape[1], len(kept)
            total = weights[0] * sum(float(d) ** 2 for d in (first - second).flatten()) / (n * size)
            for one in (first, second):
                means = one.mean(0)
                for i in range(size):
                    for j in range(size):
                        covariance = sum(float((r[i] - means[i]) * (r[j] - means[j])) for r in one) / (n - 1)
                        if i != j:
                            total += weights[2] * covariance**2 / size
                        else:
                            total += weights[1] * max(0.0, 1 - math.sqrt(covariance + 1e-4)) / size / 2
            terms.append(total)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_it_is_its_definition(given, names, weights):
    widths = {name: given.widths[name] for name in names}
    invariance, variance, covariance = weights
    objective = perturbed(
        VicregObjective(
            widths, 8, TARGET, space=5, invariance=invariance, variance=variance, covariance=covariance, weight=0.5
        )
    )
    output = given.output(names=names)
    loss = objective(output, given.truth(8))
    expected = torch.full((8,), 0.5 * slow(objective, output, given, weights), dtype=torch.float64)
    torch.testing.assert_close(loss, expected)


def test_it_is_the_published_loss_where_nothing_is_missing(given):
    """As the paper's algorithm 1 has it, with torch's variance and mean squared error."""
    widths = {"image": 4, "text": 6}
    objective = perturbed(VicregObjective(widths, 8, TARGET, space=5, weight=1.0))
    output = given.output({name: [1] * 8 for name in widths}, names=tuple(widths))
    everyone = torch.ones(8, dtype=torch.bool)
    x, y = (p(f.vector(), everyone) for p, f in zip(objective.projectors, output.features.values(), strict=True))
    expected = 25 * F.mse_loss(x, y)
    for z in (x, y):
        expected = expected + 25 * F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() / 2
        covariance = z.T.cov()
        expected = expected + (covariance - covariance.diag().diag()).square().sum() / 5
    torch.testing.assert_close(objective(output, given.truth(8)), expected.expand(8))


def test_equal_projections_of_variance_one_without_correlations_lose_nothing(given):
    """The columns of a Hadamard matrix, as the projector gives them where its last layer is set to."""
    objective = VicregObjective({"image": 4, "text": 4}, 8, TARGET, space=3, weight=1.0).double()
    signs = torch.tensor([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]]).double().repeat(2, 1)
    for projector in objective.projectors:
        projector.forward = lambda vectors, rows: 2 * signs
    same = Features.of(torch.randn(8, 4, dtype=torch.float64))
    output = ModelOutput({"image": same, "text": same}, same, torch.zeros(8, 3))
    assert objective(output, given.truth(8)).abs().max() < 1e-12


def test_one_point_for_all_costs_the_whole_variance(given):
    """What the variance term is there for: the projections that are equal because they are constant."""
    objective = VicregObjective({"image": 4, "text": 6}, 8, TARGET, space=5, weight=1.0).double()
    for projector in objective.projectors:
        torch.nn.init.zeros_(projector.out.weight)
    output = given.output({"image": [1] * 8, "text": [1] * 8}, names=("image", "text"))
    expected = torch.full((8,), 25 * (1 - math.sqrt(1e-4)), dtype=torch.float64)
    torch.testing.assert_close(objective(output, given.truth(8)), expected)


def test_centred_is_that_of_the_rows_alone():
    values, rows = torch.randn(9, 4, dtype=torch.float64), torch.arange(9) % 3 > 0
    found = centred(values, rows)
    torch.testing.assert_close(found[rows], values[rows] - values[rows].mean(0))
    assert not found[~rows].any()
    assert not centred(values, torch.zeros(9, dtype=torch.bool)).any()
