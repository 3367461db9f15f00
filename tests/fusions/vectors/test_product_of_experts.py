"""Product of experts, against Bayes' rule one number at a time, and against torch's own distributions."""

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmkit.contract import Features
from mmkit.fusions.vectors.product_of_experts import LIMIT, ProductOfExpertsFusion


def _posterior(fusion, case, names, sample, h):
    """Mean and variance of one number: the prior, then one input after the other."""
    mean, variance = 0.0, 1.0
    for name in names:
        found = fusion.project[name].weight @ case.vector(name, sample) + fusion.project[name].bias
        own, other = float(found[h]), math.exp(float(found[fusion.width + h]))
        mean, variance = (mean * other + own * variance) / (variance + other), variance * other / (variance + other)
    return mean, variance


def _there(case, sample):
    return [name for name in case.widths if case.vector(name, sample) is not None]


def _subsets(names):
    return [s for size in range(1, len(names) + 1) for s in itertools.combinations(names, size)] or [()]


@pytest.mark.parametrize("mixture", [False, True])
def test_evaluation_is_the_posterior_mean(case, perturbed, same, mixture):
    fusion = perturbed(ProductOfExpertsFusion(case.widths, width=6, mixture=mixture))
    expected = []
    for sample in range(case.batch):
        there = _there(case, sample)
        means = [
            [_posterior(fusion, case, names, sample, h)[0] for h in range(6)]
            for names in (_subsets(there) if mixture else [there])
        ]
        expected.append(torch.tensor(means, dtype=torch.float64).mean(0))
    found = fusion(case.features)
    same(found.vector(), expected)
    assert not found.penalties


@pytest.mark.parametrize("mixture", [False, True])
def test_the_penalty_is_the_divergence_from_the_prior_by_torch(case, perturbed, mixture):
    fusion = perturbed(ProductOfExpertsFusion(case.widths, width=6, mixture=mixture, beta=0.5)).train()
    expected = []
    for sample in range(case.batch):
        there, found = _there(case, sample), []
        for names in _subsets(there) if mixture else [there]:
            each = torch.tensor([_posterior(fusion, case, names, sample, h) for h in range(6)], dtype=torch.float64)
            prior = Normal(torch.zeros(6).double(), torch.ones(6).double())
            found.append(kl_divergence(Normal(each[:, 0], each[:, 1].sqrt()), prior).sum())
        expected.append(0.5 * torch.stack(found).mean())
    torch.testing.assert_close(fusion(case.features).penalties["prior"], torch.stack(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mixture", [False, True])
def test_training_draws_from_it(make, perturbed, mixture):
    """Mean and variance of what is drawn, of a mixture those of all that it consists of."""
    case = make("two")
    fusion = perturbed(ProductOfExpertsFusion(case.widths, width=6, mixture=mixture)).train()
    torch.manual_seed(0)
    draws = torch.stack([fusion(case.features).vector() for _ in range(6000)])
    for sample in range(case.batch):
        there = _there(case, sample)
        each = torch.tensor(
            [
                [_posterior(fusion, case, names, sample, h) for h in range(6)]
                for names in (_subsets(there) if mixture else [there])
            ],
            dtype=torch.float64,
        )  # [N H 2]
        mean = each[..., 0].mean(0)
        variance = (each[..., 1] + each[..., 0].square()).mean(0) - mean.square()
        own = draws[:, sample]
        assert bool(((own.mean(0) - mean).abs() < 5 * (variance / len(draws)).sqrt()).all())
        torch.testing.assert_close(own.var(0), variance, rtol=0.15, atol=0)


def _certain(means, variances):
    """A fusion of inputs of one number, whose experts are these whatever they read."""
    fusion = ProductOfExpertsFusion(dict.fromkeys("abc"[: len(means)], 1), width=1).double().eval()
    for linear, mean, variance in zip(fusion.project.values(), means, variances, strict=True):
        linear.weight.data.zero_()
        linear.bias.data.copy_(torch.tensor([mean, math.log(variance)]))
    return fusion


def test_a_worked_example():
    """Means 1 and 3, variances 1 and 1/2, and the prior: (1 + 6) / (1 + 1 + 2) = 1.75; of the first alone 1/2."""
    fusion = _certain([1.0, 3.0], [1.0, 0.5])
    features = {
        "a": Features.of(torch.zeros(3, 1).double(), torch.tensor([True, True, False])),
        "b": Features.of(torch.zeros(3, 1).double(), torch.tensor([True, False, False])),
    }
    torch.testing.assert_close(fusion(features).vector().flatten(), torch.tensor([1.75, 0.5, 0.0]).double())


def test_an_input_given_twice_makes_it_surer():
    features = {"a": Features.of(torch.zeros(1, 1).double())}
    twice = {**features, "b": features["a"]}
    assert _certain([2.0], [1.0])(features).vector().item() == pytest.approx(1.0)
    assert _certain([2.0, 2.0], [1.0, 1.0])(twice).vector().item() == pytest.approx(4 / 3)


def test_a_mixture_takes_five_inputs_at_most():
    six = dict.fromkeys("abcdef", 2)
    with pytest.raises(ValueError, match=r"for 5 inputs at most; got 6 \(a, b, c, d, e, f\): use mixture=false"):
        ProductOfExpertsFusion(six, mixture=True)
    assert ProductOfExpertsFusion(six, width=4).width == 4


def test_the_number_of_parameters():
    for mixture in (False, True):
        fusion = ProductOfExpertsFusion({"a": 128, "b": 128}, mixture=mixture)
        assert sum(parameter.numel() for parameter in fusion.parameters()) == 66_048
        assert set(fusion.state_dict()) == {f"project.{n}.{part}" for n in "ab" for part in ("weight", "bias")}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mixture", [False, True])
@pytest.mark.parametrize("spread", [-LIMIT, -9.0, LIMIT])
def test_at_the_limits_autocast_rounds_no_precision(dtype, mixture, spread):
    """Sums of precisions near e^10, and of means times them, are beyond float16."""
    fusion = ProductOfExpertsFusion({"a": 2, "b": 2}, width=1, mixture=mixture)
    with torch.no_grad():
        for linear in fusion.project.values():
            linear.weight.zero_()
            linear.bias.copy_(torch.tensor([8.0, spread]))
    features = {name: Features.of(torch.ones(3, 1, 2)) for name in "ab"}
    expected = fusion.eval()(features).vector()
    with torch.autocast("cpu", dtype):
        found = fusion(features).vector()
        drawn = fusion.train()(features)
    torch.testing.assert_close(found.float(), expected, atol=0, rtol=1e-5)
    assert drawn.vector().isfinite().all()
    assert drawn.penalties["prior"].isfinite().all()
