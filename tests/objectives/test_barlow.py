import pytest
import torch
from torch import nn

from mmkit.contract import Features, ModelOutput, Target
from mmkit.layers.pairs import standardised
from mmkit.objectives.barlow import BarlowObjective

TARGET = Target("classes", 3)


@torch.no_grad()
def slow(objective, output, given, weight, off_diagonal):
    """With torch's batch normalisation, as the authors have it, on the rows alone."""
    names = list(output.features)
    points = {}
    for name, projector in zip(names, objective.projectors, strict=True):
        there = output.features[name].present()
        hidden = projector.hidden(output.features[name].vector()[there])
        normal = nn.BatchNorm1d(hidden.shape[1]).double().train()
        with torch.no_grad():
            normal.weight.copy_(projector.scale)
            normal.bias.copy_(projector.shift)
        rows = torch.full((len(there), hidden.shape[1]), torch.nan, dtype=torch.float64)
        rows[there] = projector.out(normal(hidden).relu())
        points[name] = rows
    terms = []
    for x, a in enumerate(names):
        for b in names[x + 1 :]:
            kept, *_ = given.rows(output, a, b)
            last = nn.BatchNorm1d(points[a].shape[1], affine=False).double().train()
            c = last(points[a][kept]).T @ last(points[b][kept]) / len(kept)
            total = 0.0
            for i in range(len(c)):
                for j in range(len(c)):
                    total += (float(c[i, i]) - 1) ** 2 if i == j else off_diagonal * float(c[i, j]) ** 2
            terms.append(total)
    return weight * sum(terms) / len(terms)


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
@pytest.mark.parametrize("off_diagonal", [5.1e-3, 0.5])
def test_it_is_its_definition(given, names, off_diagonal):
    widths = {name: given.widths[name] for name in names}
    objective = BarlowObjective(widths, 8, TARGET, space=5, off_diagonal=off_diagonal, weight=0.5).double()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    output = given.output(names=names)
    loss = objective(output, given.truth(8))
    torch.testing.assert_close(
        loss, torch.full((8,), slow(objective, output, given, 0.5, off_diagonal), dtype=torch.float64)
    )


def test_equal_views_lose_nothing_on_the_diagonal(given):
    objective = BarlowObjective({"image": 4, "text": 4}, 8, TARGET, space=5, off_diagonal=0.0, weight=1.0).double()
    objective.projectors[1].load_state_dict(objective.projectors[0].state_dict())
    same = Features.of(torch.randn(8, 4, dtype=torch.float64))
    output = ModelOutput({"image": same, "text": same}, same, torch.zeros(8, 3))
    assert objective(output, given.truth(8)).abs().max() < 1e-6


def test_the_scale_of_a_projection_does_not_matter(given):
    objective = BarlowObjective({"image": 4, "text": 6}, 8, TARGET, space=5).double()
    with torch.no_grad():
        objective.projectors[0].out.weight.mul_(1e3)
        output = given.output(names=("image", "text"))
        loss = objective(output, given.truth(8))
        objective.projectors[0].out.weight.mul_(torch.tensor([1, 2, 3, 4, 5.0]).unsqueeze(1))
    torch.testing.assert_close(objective(output, given.truth(8)), loss, rtol=1e-6, atol=0)


def test_standardised_is_that_of_the_rows_alone():
    values, rows = torch.randn(9, 4, dtype=torch.float64), torch.arange(9) % 3 > 0
    found = standardised(values, rows, eps=0.0)
    kept = values[rows]
    torch.testing.assert_close(found[rows], (kept - kept.mean(0)) / kept.std(0, unbiased=False))
    assert not found[~rows].any()
    assert not standardised(values, torch.zeros(9, dtype=torch.bool)).any()
    assert not standardised(torch.ones(9, 4), rows).any()  # no variance
