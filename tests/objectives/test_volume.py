"""GRAM: volumes against torch's determinants of the rows that are there, and their gradients where they vanish."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.volume import FLOOR, VolumeObjective, determinants, volumes

TARGET = Target("classes", 3)


def volume_of(directions):
    """Of a list of vectors, by torch's determinant."""
    stacked = torch.stack(directions)
    return math.sqrt(max(float(torch.linalg.det(stacked @ stacked.T)), 0) + FLOOR)


def slow(objective, output, weight):
    """Each anchor, each pair of samples, one determinant each."""
    names = list(output.features)
    there = {name: output.features[name].present().tolist() for name in names}
    points = {
        name: F.normalize(projection(output.features[name].vector().detach()), dim=1)
        for name, projection in zip(names, objective.projections, strict=True)
    }
    size = len(there[names[0]])
    scale = float(objective.log_scale.exp())
    losses = [[] for _ in range(size)]
    for anchor in names:
        rest = [name for name in names if name != anchor]
        some = [any(there[name][row] for name in rest) for row in range(size)]

        def logit(i, j, anchor=anchor, rest=rest):
            return -scale * volume_of([points[anchor][i], *(points[name][j] for name in rest if there[name][j])])

        for i in range(size):
            if there[anchor][i] and some[i]:
                over_others = torch.tensor([logit(i, j) for j in range(size) if some[j]])
                over_anchors = torch.tensor([logit(j, i) for j in range(size) if there[anchor][j]])
                right = logit(i, i)
                losses[i].append(float(over_others.logsumexp(0) + over_anchors.logsumexp(0)) / 2 - right)
    return weight * torch.tensor([sum(of) / len(of) if of else 0.0 for of in losses])


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
def test_it_is_its_definition(given, names):
    torch.set_default_dtype(torch.float64)
    try:
        objective = VolumeObjective({n: given.widths[n] for n in names}, 8, TARGET, space=5, weight=0.5)
        output = given.output(names=names)
        with torch.no_grad():
            expected = slow(objective, output, 0.5)
        torch.testing.assert_close(objective(output, given.truth(8)), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_determinants_and_adjugates_are_those_of_torch(count):
    generator = torch.Generator().manual_seed(count)
    matrices = torch.randn(5, count, count, generator=generator, dtype=torch.float64)
    determinant, adjugate = determinants(matrices)
    torch.testing.assert_close(determinant, torch.linalg.det(matrices))
    torch.testing.assert_close(adjugate, determinant[:, None, None] * torch.linalg.inv(matrices))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_volumes_are_roots_of_determinants(count):
    generator = torch.Generator().manual_seed(count)
    views = [torch.randn(6, 8, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(count)]
    points = [F.normalize(view, dim=1) for view in views]
    there = [torch.ones(6, dtype=torch.bool) for _ in points[1:]]
    found = volumes(points[0], points[1:], there)
    every = torch.stack(
        [torch.stack([torch.stack([points[0][i], *(p[j] for p in points[1:])]) for j in range(6)]) for i in range(6)]
    )  # [B B M S]
    expected = (torch.linalg.det(every @ every.mT) + FLOOR).sqrt()
    torch.testing.assert_close(found, expected)
    weights = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), views, retain_graph=True),
        torch.autograd.grad((expected * weights).sum(), views),
    )


def test_of_two_inputs_it_is_the_sine_of_their_angle():
    first, second = (F.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1) for _ in range(2))
    found = volumes(first, [second], [torch.ones(4, dtype=torch.bool)])
    torch.testing.assert_close(found, ((first @ second.T).arccos().sin() ** 2 + FLOOR).sqrt())


def test_directions_that_agree_have_finite_gradients():
    """Where the root of |det G| has none."""
    same = F.normalize(torch.randn(4, 3, dtype=torch.float64), dim=1).requires_grad_()
    volumes(same, [same, same], [torch.ones(4, dtype=torch.bool)] * 2).sum().backward()
    assert same.grad.isfinite().all()
    agreed = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).requires_grad_()
    torch.linalg.det(agreed @ agreed.T).abs().sqrt().backward()
    assert not agreed.grad.isfinite().all()


def test_a_missing_input_is_left_out_of_the_gram_matrix():
    first, second, third = (F.normalize(torch.randn(4, 5, dtype=torch.float64), dim=1) for _ in range(3))
    there = torch.tensor([True, False, True, False])
    found = volumes(first, [second, third * there[:, None]], [torch.ones(4, dtype=torch.bool), there])
    without = volumes(first, [second], [torch.ones(4, dtype=torch.bool)])
    torch.testing.assert_close(found[:, ~there], without[:, ~there])
    assert not torch.allclose(found[:, there], without[:, there])


def test_without_a_third_input_it_is_the_objective_of_two(given):
    """Removal: with an input missing in all rows."""
    names = ("audio", "image", "text")
    whole = VolumeObjective(given.widths, 8, TARGET, space=5).double()
    part = VolumeObjective({n: given.widths[n] for n in names[:2]}, 8, TARGET, space=5).double()
    for place in range(2):
        part.projections[place].load_state_dict(whole.projections[place].state_dict())
    output = given.output({**given.masks, "text": [0] * 8})
    two = ModelOutput({n: output.features[n] for n in names[:2]}, output.fused, output.output)
    torch.testing.assert_close(whole(output, given.truth(8)), part(two, given.truth(8)))


def test_a_space_in_which_nothing_is_spanned_is_refused():
    with pytest.raises(ValueError, match="3 directions span no volume in a space of 2; set space=3"):
        VolumeObjective({"a": 3, "b": 3, "c": 3}, 8, TARGET, space=2)


def test_three_views_of_one_sample_are_told_from_those_of_others():
    """After training the volume of each sample's own views is the least of its row."""
    torch.manual_seed(0)
    shared = torch.randn(24, 4)
    views = [shared @ torch.randn(4, 6) for _ in range(3)]
    features = {name: Features.of(view) for name, view in zip("abc", views, strict=True)}
    output = ModelOutput(features, features["a"], torch.zeros(24, 3))
    truth = {"label": torch.zeros(24, dtype=torch.long), "mask": torch.ones(24, dtype=torch.bool)}
    objective = VolumeObjective(dict.fromkeys("abc", 6), 8, TARGET, space=4, weight=1.0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.03)
    for _ in range(300):
        optimizer.zero_grad()
        objective(output, truth).mean().backward()
        optimizer.step()
    points = [F.normalize(p(v), dim=1) for p, v in zip(objective.projections, views, strict=True)]
    found = volumes(points[0], points[1:], [torch.ones(24, dtype=torch.bool)] * 2)
    assert (found.argmin(1) == torch.arange(24)).float().mean() > 0.9
