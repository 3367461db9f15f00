"""EmbraceNet, against its formula one number at a time; what training draws, against the mean."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.embrace import EmbraceFusion


def _docked(fusion, case, name, sample):
    linear = fusion.project[name]
    return [max(0.0, float(linear.weight[h] @ case.vector(name, sample) + linear.bias[h])) for h in range(fusion.width)]


def _there(case, sample):
    return [name for name in case.widths if case.vector(name, sample) is not None]


@pytest.mark.parametrize("probabilities", ["equal", "learned"])
def test_evaluation_is_the_mean_over_what_is_there(case, perturbed, same, probabilities):
    fusion = perturbed(EmbraceFusion(case.widths, width=6, probabilities=probabilities))
    weights = dict.fromkeys(case.widths, 1.0)
    if fusion.scores is not None:
        weights = dict(zip(case.widths, fusion.scores.exp().tolist(), strict=True))
    expected = []
    for sample in range(case.batch):
        there = _there(case, sample)
        total = sum(weights[name] for name in there)
        numbers = [
            sum(weights[name] / total * _docked(fusion, case, name, sample)[h] for name in there) for h in range(6)
        ]
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize("probabilities", ["equal", "learned"])
def test_training_takes_each_number_from_an_input_that_is_there_and_its_mean_is_that_of_evaluation(
    make, perturbed, probabilities
):
    case = make("three")
    fusion = perturbed(EmbraceFusion(case.widths, width=6, probabilities=probabilities))
    expected = fusion(case.features).vector()
    fusion.train()
    torch.manual_seed(0)
    draws = torch.stack([fusion(case.features).vector() for _ in range(4000)])
    for sample in range(case.batch):
        there = _there(case, sample)
        docked = torch.tensor([_docked(fusion, case, name, sample) for name in there] or [[0.0] * 6]).double()
        of_one = (draws[:, sample].unsqueeze(1) - docked).abs() < 1e-6  # [N M H]
        assert of_one.any(1).all()
    error = draws.std(0) / len(draws) ** 0.5
    assert bool(((draws.mean(0) - expected).abs() <= 5 * error + 1e-9).all())


def test_numbers_of_a_sample_come_from_different_inputs():
    fusion = EmbraceFusion({"a": 4, "b": 4}, width=200)
    with torch.no_grad():
        for linear, value in zip(fusion.project.values(), (1.0, 2.0), strict=True):
            linear.weight.zero_()
            linear.bias.fill_(value)
    drawn = fusion({name: Features.of(torch.randn(3, 4)) for name in "ab"}).vector()
    assert set(drawn.unique().tolist()) == {1.0, 2.0}
    assert bool(((drawn == 1).float().mean(1) - 0.5).abs().max() < 0.2)
    assert not torch.equal(drawn[0], drawn[1])


def test_learned_probabilities_get_the_gradient_of_the_mean(make):
    """Of a loss that is linear in the result the gradient is that of evaluation, whatever is drawn."""
    case = make("three")
    fusion = EmbraceFusion(case.widths, width=6, probabilities="learned").double()
    torch.nn.init.normal_(fusion.scores)
    weight = torch.randn(case.batch, 6).double()
    found = [
        torch.autograd.grad((fusion.train(mode)(case.features).vector() * weight).sum(), fusion.scores)[0]
        for mode in (True, False)
    ]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("probabilities", ["equal", "learned"])
def test_an_input_given_twice_changes_nothing_in_evaluation(probabilities):
    torch.manual_seed(0)
    one = EmbraceFusion({"a": 5}, width=6, probabilities=probabilities).eval()
    twice = EmbraceFusion({"a": 5, "b": 5}, width=6, probabilities=probabilities).eval()
    for linear in twice.project.values():
        linear.load_state_dict(one.project["a"].state_dict())
    features = Features.of(torch.randn(3, 5))
    found = twice({"a": features, "b": features}).vector()
    torch.testing.assert_close(found, one({"a": features}).vector())
    torch.testing.assert_close(found, one.project["a"](features.vector()).relu())


def test_the_number_of_parameters():
    fusion = EmbraceFusion({"a": 128, "b": 128})
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 33_024
    assert EmbraceFusion({"a": 3}, probabilities="learned").scores is None
