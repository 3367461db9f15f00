"""The Hilbert-Schmidt criterion, against its matrices over the rows that both inputs have."""

import math

import pytest
import torch
from torch import nn

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.independence import IndependenceObjective

TARGET = Target("classes", 3)
SEVERAL = [["image", "text"], ["audio", "image", "text"]]


def _pairs(names):
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def _standard(rows):
    deviation = (rows.var(0, unbiased=False) + 1e-5).sqrt()
    return (rows - rows.mean(0)) / deviation


def _kernel(rows, kind):
    if kind == "linear":
        return rows @ rows.T / rows.shape[1]
    return torch.tensor(
        [[math.exp(-float(((a - b) ** 2).sum()) / (2 * rows.shape[1])) for b in rows] for a in rows],
        dtype=torch.float64,
    )


def _criterion(first, second, kind):
    n = len(first)
    one, other = (_kernel(_standard(side.detach()), kind) for side in (first, second))
    h = torch.eye(n, dtype=torch.float64) - 1 / n
    return float(torch.trace(one @ h @ other @ h)) / (n - 1) ** 2


@pytest.mark.parametrize("names", SEVERAL)
@pytest.mark.parametrize("kind", ["gaussian", "linear"])
def test_it_is_the_trace_of_the_centred_kernels(given, names, kind):
    objective = IndependenceObjective({n: given.widths[n] for n in names}, 8, TARGET, kernel=kind, weight=0.5).double()
    output = given.output(names=names)
    terms = []
    for a, b in _pairs(names):
        _, first, second = given.rows(output, a, b)
        terms.append(_criterion(first, second, kind))
    expected = torch.full((8,), 0.5 * sum(terms) / len(terms), dtype=torch.float64)
    torch.testing.assert_close(objective(output, given.truth(8)), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", ["gaussian", "linear"])
def test_given_the_truth_the_means_of_the_classes_are_taken_off(given, kind):
    """Rows without truth do not count, whatever their label."""
    names = ["image", "text"]
    objective = IndependenceObjective(
        {n: given.widths[n] for n in names}, 8, TARGET, kernel=kind, given="truth", weight=0.5
    ).double()
    masks = {"image": [1, 1, 1, 1, 1, 1, 0, 1], "text": [1, 0, 1, 1, 1, 1, 1, 1]}
    output = given.output(masks, names)
    known = torch.tensor([1, 1, 1, 1, 1, 0, 1, 1], dtype=torch.bool)
    label = torch.tensor([0, 0, 1, 0, 1, -100, 2, 1])
    rows = [0, 2, 3, 4, 7]
    sides = []
    for name in names:
        vectors = output.features[name].vector().detach()[rows]
        means = {c: vectors[label[rows] == c].mean(0) for c in (0, 1)}
        sides.append(torch.stack([v - means[int(c)] for v, c in zip(vectors, label[rows], strict=True)]))
    found = objective(output, {"label": label, "mask": known})
    expected = torch.full((8,), 0.5 * _criterion(sides[0], sides[1], kind), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def _loss(one, other, **options):
    features = {"a": Features.of(one), "b": Features.of(other)}
    widths = {name: each.width for name, each in features.items()}
    objective = IndependenceObjective(widths, 8, TARGET, weight=1.0, **options)
    return float(objective(ModelOutput(features, features["a"], torch.zeros(len(one), 3)), {})[0])


def test_the_linear_kernel_gives_the_mean_squared_correlation():
    torch.manual_seed(0)
    shared = torch.randn(50, 2).double()
    one, other = shared @ torch.randn(2, 3).double(), shared @ torch.randn(2, 4).double() + torch.randn(50, 4).double()
    correlations = torch.corrcoef(torch.cat([one, other], 1).T)[:3, 3:]
    expected = float(correlations.square().mean()) * (50 / 49) ** 2
    assert _loss(one, other, kernel="linear") == pytest.approx(expected, rel=1e-4)  # the variance has an epsilon


def test_only_the_gaussian_kernel_sees_what_is_not_linear():
    """A number and its square are uncorrelated, and tell all of each other."""
    one = torch.linspace(-1, 1, 201).double().unsqueeze(1)
    fresh = one[torch.randperm(201, generator=torch.Generator().manual_seed(0))]
    assert _loss(one, one**2, kernel="linear") < 1e-9
    assert _loss(one, one**2) > 10 * _loss(one, fresh)


def test_scale_and_shift_do_not_matter():
    torch.manual_seed(0)
    one, other = torch.randn(2, 30, 4).double()
    for kernel in ("gaussian", "linear"):
        assert _loss(1e3 * one + 7, other, kernel=kernel) == pytest.approx(_loss(one, other, kernel=kernel), rel=1e-4)


def test_training_takes_out_what_two_inputs_share():
    """Of views of a shared number and own ones, encoders keep the own: measured by correlation, on fresh samples."""
    torch.manual_seed(0)

    def views(count):
        shared = torch.randn(count, 1)
        return [torch.cat([2 * shared, torch.randn(count, 2)], 1) for _ in range(2)]

    encoders = [nn.Linear(3, 3) for _ in range(2)]

    def dependence():
        with torch.no_grad():
            one, other = (encoder(view) for encoder, view in zip(encoders, views(4000), strict=True))
            return float(torch.corrcoef(torch.cat([one, other], 1).T)[:3, 3:].square().mean())

    objective = IndependenceObjective({"a": 3, "b": 3}, 8, TARGET)
    optimiser = torch.optim.Adam([p for encoder in encoders for p in encoder.parameters()], lr=0.02)
    before = dependence()
    for _ in range(150):
        one, other = (Features.of(encoder(view)) for encoder, view in zip(encoders, views(64), strict=True))
        loss = objective(ModelOutput({"a": one, "b": other}, one, torch.zeros(64, 3)), {}).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert dependence() < before / 10


def test_means_of_classes_need_classes(given):
    with pytest.raises(ValueError, match="given=truth takes the mean of each class; the target is scalar"):
        IndependenceObjective(given.widths, 8, Target("scalar", 2), given="truth")
