"""CLUB: the bound against all pairs of rows and torch's normal distribution, and who learns from what."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from mmkit.contract import Features, ModelOutput, Target
from mmkit.layers.pairs import standardised
from mmkit.objectives.mutual_information import Conditional, MutualInformationObjective

TARGET = Target("classes", 3)


def normal(q, x):
    """The distribution of y given x [D]."""
    mean, log_variance = q.out(q.hidden(x).relu()).chunk(2, -1)
    return Normal(mean, (log_variance.tanh() / 2).exp())


@torch.no_grad()
def slow(objective, output, given, weight):
    """Each pair of inputs, both ways; each pair of rows for itself."""
    names = list(output.features)
    found = []
    for a in names:
        for b in names:
            if a == b:
                continue
            kept, x, y = given.rows(output, a, b)
            x, y = ((v - v.mean(0)) / (v.var(0, unbiased=False) + 1e-5).sqrt() for v in (x, y))
            q = objective.between[f"{a}__{b}"]
            own = [float(normal(q, x[i]).log_prob(y[i]).sum()) for i in range(len(kept))]
            other = [
                sum(float(normal(q, x[i]).log_prob(y[j]).sum()) for j in range(len(kept))) / len(kept)
                for i in range(len(kept))
            ]
            bound = sum(o - p for o, p in zip(own, other, strict=True)) / len(kept)
            least = -y.shape[1] * (math.log(2 * math.pi) - 1) / 2  # -log q where it is surest, and right
            found.append(max(bound, 0) - sum(own) / len(kept) + least)
    return weight * sum(found) / len(found)


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
def test_it_is_its_definition(given, names):
    objective = MutualInformationObjective(
        {n: given.widths[n] for n in names}, 8, TARGET, hidden=5, weight=0.5
    ).double()
    output = given.output(names=names)
    expected = slow(objective, output, given, 0.5)
    torch.testing.assert_close(objective(output, given.truth(8)), torch.full((8,), expected, dtype=torch.float64))


def both_ways(seed=0, size=6):
    torch.manual_seed(seed)
    q = Conditional(3, 4, 5).double()
    x, y = (torch.randn(size, d, dtype=torch.float64, requires_grad=True) for d in (3, 4))
    return q, x, y, torch.ones(size, dtype=torch.bool)


def test_the_bound_teaches_features_and_its_own_loss_teaches_q():
    q, x, y, rows = both_ways()
    of_bound = torch.autograd.grad(q.bound(x, y, rows), [x, y, *q.parameters()], allow_unused=True)
    assert all(bool(g.any()) for g in of_bound[:2])
    assert all(g is None for g in of_bound[2:])
    output = ModelOutput({"x": Features.of(x), "y": Features.of(y)}, Features.of(x), torch.zeros(6, 3))
    objective = MutualInformationObjective({"x": 3, "y": 4}, 8, TARGET).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Conditional, "bound", lambda q, x, y, rows: x.new_zeros(()))  # what is left is the loss of q
        loss = objective(output, {"mask": rows}).mean()
    found = torch.autograd.grad(loss, [x, y, *objective.parameters()], allow_unused=True)
    assert all(g is None for g in found[:2])
    assert all(bool(g.any()) for g in found[2:])


def test_the_bound_is_that_of_all_pairs_of_rows():
    q, x, y, rows = both_ways()
    logs = torch.stack([torch.stack([normal(q, one).log_prob(other).sum() for other in y]) for one in x])
    expected = (logs.diagonal() - logs.mean(1)).mean()
    torch.testing.assert_close(q.bound(x, y, rows), expected)


def learnt(x, y, steps=400):
    """What is estimated once q is trained on two inputs."""
    torch.manual_seed(1)
    q = Conditional(x.shape[1], y.shape[1], 32)
    rows = torch.ones(len(x), dtype=torch.bool)
    x, y = standardised(x, rows), standardised(y, rows)
    optimizer = torch.optim.Adam(q.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        q(x, y, rows).backward()
        optimizer.step()
    return float(q.bound(x, y, rows))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.75])
def test_of_normal_numbers_it_bounds_their_information_from_above(correlation):
    """With q as it truly is the bound is r^2 / (1 - r^2) a pair of numbers, where they share -log(1 - r^2) / 2."""
    torch.manual_seed(0)
    x = torch.randn(2000, 2)
    y = correlation * x + math.sqrt(1 - correlation**2) * torch.randn(2000, 2)
    found = learnt(x, y)
    assert abs(found - 2 * correlation**2 / (1 - correlation**2)) < 0.1
    assert found > -math.log(1 - correlation**2) - 0.05


@pytest.mark.full
def test_a_training_takes_away_what_inputs_have_in_common():
    """Two encoders of one source: what a fresh q finds in common becomes a fraction of what it was."""
    torch.manual_seed(0)
    shared = torch.randn(512, 1)
    views = {name: torch.cat([shared + 0.1 * torch.randn(512, 1), torch.randn(512, 1)], 1) for name in "xy"}
    encoders = nn.ModuleDict({name: nn.Linear(2, 2) for name in views})
    objective = MutualInformationObjective({"x": 2, "y": 2}, 8, TARGET, weight=1.0)
    truth = {"mask": torch.ones(512, dtype=torch.bool)}

    def features():
        return {name: Features.of(encoders[name](view)) for name, view in views.items()}

    def between():
        x, y = (one.vector().detach() for one in features().values())
        return learnt(x, y)

    before = between()
    optimizer = torch.optim.Adam([*encoders.parameters(), *objective.parameters()], lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        found = features()
        objective(ModelOutput(found, found["x"], torch.zeros(512, 3)), truth).mean().backward()
        optimizer.step()
    assert before > 0.5
    assert between() < before / 3


def test_the_scale_of_features_is_no_way_out(given):
    objective = MutualInformationObjective(given.widths, 8, TARGET).double()
    output = given.output()
    shrunk = {n: Features.of(0.1 * f.tokens, f.mask) for n, f in output.features.items()}
    small = ModelOutput(shrunk, output.fused, output.output)
    torch.testing.assert_close(objective(small, given.truth(8)), objective(output, given.truth(8)), rtol=0.02, atol=0)
