import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import CCA

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.deep_cca import DeepCcaObjective

TARGET = Target("classes", 3)


def inverse_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def correlations(first, second, ridge):
    """As Andrew et al. write it: the nuclear norm of C11^-1/2 C12 C22^-1/2."""
    first, second = (
        (one - one.mean(0)) / np.sqrt(one.var(0) + 1e-5) for one in (first.detach().numpy(), second.detach().numpy())
    )
    n, s = first.shape
    c11, c22 = (one.T @ one / n + ridge * np.eye(s) for one in (first, second))
    inner = inverse_root(c11) @ (first.T @ second / n) @ inverse_root(c22)
    return np.linalg.svd(inner)[1].sum()


def two(first, second):
    features = {"image": Features.of(first), "text": Features.of(second)}
    return ModelOutput(features, features["image"], torch.zeros(len(first), 3))


def identity(objective):
    with torch.no_grad():
        for projection in objective.projections:
            torch.nn.init.eye_(projection.weight)
    return objective.double()


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
@pytest.mark.parametrize("ridge", [1e-3, 0.5])
def test_it_is_its_definition(given, names, ridge):
    widths = {name: given.widths[name] for name in names}
    objective = DeepCcaObjective(widths, 8, TARGET, space=2, ridge=ridge, weight=0.5).double()
    output = given.output(names=names)
    projections = dict(zip(names, objective.projections, strict=True))
    terms = []
    for x, a in enumerate(names):
        for b in names[x + 1 :]:
            _, first, second = given.rows(output, a, b)
            terms.append(2 - correlations(projections[a](first), projections[b](second), ridge))
    expected = torch.full((8,), 0.5 * sum(terms) / len(terms), dtype=torch.float64)
    torch.testing.assert_close(objective(output, given.truth(8)), expected)


def test_it_finds_the_correlations_that_scikit_learn_does(given):
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    views = [
        torch.cat([shared, torch.randn(400, 1, generator=generator, dtype=torch.float64)], 1)
        @ torch.randn(3, 3, generator=generator, dtype=torch.float64)
        + 0.3 * torch.randn(400, 3, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]
    objective = identity(DeepCcaObjective({"image": 3, "text": 3}, 8, TARGET, space=3, ridge=1e-5, weight=1.0))
    found = 3 - float(objective(two(*views), given.truth(400))[0].detach())
    projected = CCA(3, scale=False, max_iter=10_000, tol=1e-12).fit_transform(views[0].numpy(), views[1].numpy())
    expected = sum(np.corrcoef(projected[0][:, i], projected[1][:, i])[0, 1] for i in range(3))
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_trace_of_elementwise_roots_is_not_the_sum_of_singular_values(given):
    """What published code computes in its place differs on the same data, so this test would see it."""
    torch.manual_seed(0)
    first, second = torch.randn(50, 3).double(), torch.randn(50, 3).double()
    objective = identity(DeepCcaObjective({"image": 3, "text": 3}, 8, TARGET, space=3, weight=1.0))
    found = 3 - float(objective(two(first, second), given.truth(50))[0].detach())
    one, other = (((v - v.mean(0)) / torch.sqrt(v.var(0, unbiased=False) + 1e-5)).numpy() for v in (first, second))
    c11, c22 = (v.T @ v / 50 + 1e-3 * np.eye(3) for v in (one, other))
    inner = inverse_root(c11) @ (one.T @ other / 50) @ inverse_root(c22)
    published = np.trace(np.sqrt(np.abs(inner.T @ inner)))
    assert found == pytest.approx(np.linalg.svd(inner)[1].sum(), abs=1e-9)
    assert abs(found - published) > 0.01


def test_equal_views_lose_nothing_but_the_ridge(given):
    torch.manual_seed(0)
    view = torch.randn(100, 4).double()
    for ridge in (1e-5, 1e-2):
        objective = identity(DeepCcaObjective({"image": 4, "text": 4}, 8, TARGET, space=4, ridge=ridge, weight=1.0))
        loss = float(objective(two(view, view), given.truth(100))[0].detach())
        assert 0 < loss < 4 * 3 * ridge + 1e-4


def test_it_does_not_change_under_linear_maps(given):
    torch.manual_seed(0)
    view, other = torch.randn(100, 3).double(), torch.randn(100, 3).double()
    objective = identity(DeepCcaObjective({"image": 3, "text": 3}, 8, TARGET, space=3, ridge=1e-5, weight=1.0))
    loss = objective(two(view, other), given.truth(100))
    mixed = view @ torch.tensor([[2.0, 1, 0], [0, 1, 0.5], [0.3, 0, 1]]).double()
    torch.testing.assert_close(objective(two(mixed, other), given.truth(100)), loss, rtol=1e-3, atol=1e-3)


def test_a_batch_no_larger_than_the_width_tells_nothing(given):
    """Why `space` is small: views that know nothing of each other lose nothing."""
    torch.manual_seed(0)
    losses = {}
    for rows in (9, 400):
        objective = identity(DeepCcaObjective({"image": 8, "text": 8}, 8, TARGET, space=8, ridge=1e-5, weight=1.0))
        unrelated = two(torch.randn(rows, 8).double(), torch.randn(rows, 8).double())
        losses[rows] = float(objective(unrelated, given.truth(rows))[0].detach())
    assert losses[9] < 0.1
    assert losses[400] > 5


@torch.no_grad()
def slow_soft(objective, batches, decorrelation):
    """Chang et al.: C_t = decay C_(t-1) + C, c_t = decay c_(t-1) + 1, and the mean of |C_t / c_t| off the diagonal."""
    running, factor = [0.0, 0.0], [0.0, 0.0]
    for batch in batches:
        points = [p(f.vector()) for p, f in zip(objective.projections, batch.features.values(), strict=True)]
        points = [(one - one.mean(0)) / torch.sqrt(one.var(0, unbiased=False) + 1e-5) for one in points]
        cost = (points[0] - points[1]).square().mean()
        for i, one in enumerate(points):
            running[i] = 0.9 * running[i] + one.T @ one / len(one)
            factor[i] = 0.9 * factor[i] + 1
            average = running[i] / factor[i]
            s = len(average)
            off = [abs(float(average[k, j])) for k in range(s) for j in range(s) if k != j]
            cost = cost + decorrelation * sum(off) / len(off)
        yield cost


def test_the_soft_form_is_its_definition_over_several_batches(given):
    objective = DeepCcaObjective({"image": 4, "text": 6}, 8, TARGET, space=3, soft=True, decorrelation=0.7, weight=1.0)
    objective = objective.double().train()
    everyone = {"image": [1] * 8, "text": [1] * 8}
    batches = [given.output(everyone, names=("image", "text"), seed=seed) for seed in range(3)]
    for batch, expected in zip(batches, slow_soft(objective, batches, 0.7), strict=True):
        torch.testing.assert_close(objective(batch, given.truth(8)), expected.expand(8))


def test_a_batch_without_the_input_leaves_the_running_covariance(given):
    objective = DeepCcaObjective({"image": 4, "text": 6}, 8, TARGET, space=3, soft=True).double().train()
    objective(given.output(names=("image", "text")), given.truth(8))
    before = objective.running.clone(), objective.seen.clone()
    nothing = {"image": [0] * 8, "text": [1] * 8}
    objective(given.output(nothing, names=("image", "text")), given.truth(8))
    assert torch.equal(objective.running[0], before[0][0])
    assert objective.seen[0] == before[1][0]
    assert not torch.equal(objective.running[1], before[0][1])
