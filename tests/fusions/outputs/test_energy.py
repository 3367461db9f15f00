"""Energy-weighted fusion, against its formula one sample and one number at a time, and what changes no prediction."""

import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.energy import EnergyFusion


@pytest.fixture
def outputs(case):
    features = {
        name: Features.of(torch.randn(case.batch, 3, dtype=torch.float64) * 4, each.present())
        for name, each in case.features.items()
    }
    return type(case)(dict.fromkeys(case.widths, 3), features)


def confidence(numbers, scale, centred):
    shift = sum(numbers) / len(numbers) if centred else 0.0
    return scale * math.log(sum(math.exp(number - shift) for number in numbers))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("scale", [0.1, 0.7])
def test_it_is_its_formula(outputs, same, centred, scale):
    fusion = EnergyFusion(outputs.widths, Target("classes", 3), scale=scale, centred=centred)
    found = fusion(outputs.features)
    expected = []
    for sample in range(outputs.batch):
        row = [0.0] * 3
        for name in outputs.widths:
            vector = outputs.vector(name, sample)
            if vector is None:
                continue
            weight = confidence(vector.tolist(), scale, centred)
            assert float(found.details[f"confidence.{name}"][sample]) == pytest.approx(weight)
            row = [r + weight * float(v) for r, v in zip(row, vector, strict=True)]
        expected.append(torch.tensor(row, dtype=torch.float64))
    same(found.vector(), expected)


def test_with_five_inputs(same):
    widths = dict.fromkeys("abcde", 4)
    features = {name: Features.of(torch.randn(6, 4, dtype=torch.float64)) for name in widths}
    found = EnergyFusion(widths, Target("classes", 4))(features).vector()
    rows = [
        sum(confidence(features[n].vector()[i].tolist(), 0.1, centred=True) * features[n].vector()[i] for n in widths)
        for i in range(6)
    ]
    same(found, rows)


def test_a_constant_added_to_all_logits_changes_no_prediction_but_in_the_published_form():
    target, widths = Target("classes", 3), {"a": 3, "b": 3}
    values = {name: torch.randn(7, 3, dtype=torch.float64) for name in widths}
    shifted = {"a": values["a"] - 9, "b": values["b"]}

    def chances(of, *, centred):
        fusion = EnergyFusion(widths, target, centred=centred)
        return fusion({name: Features.of(value) for name, value in of.items()}).vector().softmax(1)

    torch.testing.assert_close(chances(shifted, centred=True), chances(values, centred=True))
    assert (chances(shifted, centred=False) - chances(values, centred=False)).abs().max() > 0.05
    told = EnergyFusion(widths, target, centred=False)({n: Features.of(v) for n, v in shifted.items()}).details
    assert (told["confidence.a"] < 0).all()


def test_the_least_confidence_is_that_of_equal_logits():
    values = torch.cat([torch.full((1, 5), 3.0), 4 * torch.randn(50, 5)]).double()
    told = EnergyFusion({"a": 5}, Target("classes", 5))({"a": Features.of(values)}).details["confidence.a"]
    assert float(told[0]) == pytest.approx(0.1 * math.log(5))
    assert (told[1:] > told[0]).all()


def test_no_gradient_passes_through_the_weights_and_one_does_through_the_details():
    said = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    found = EnergyFusion({"a": 3}, Target("classes", 3))({"a": Features.of(said)})
    (gradient,) = torch.autograd.grad(found.vector().sum(), said, retain_graph=True)
    torch.testing.assert_close(gradient, found.details["confidence.a"].detach().unsqueeze(1).expand(4, 3))
    (of_details,) = torch.autograd.grad(found.details["confidence.a"].sum(), said)
    torch.testing.assert_close(of_details, 0.1 * (said.detach().softmax(1) - 1 / 3))


def test_what_is_told_complete_gives_the_same():
    fusion = EnergyFusion({"a": 3, "b": 3}, Target("classes", 3))
    values = {name: torch.randn(5, 3, dtype=torch.float64) for name in "ab"}
    told = fusion({name: Features.of(value) for name, value in values.items()}).vector()
    found = fusion({n: Features.of(v, torch.ones(5, dtype=torch.bool)) for n, v in values.items()}).vector()
    torch.testing.assert_close(found, told)


def test_it_has_no_parameter():
    assert not list(EnergyFusion({"a": 3, "b": 3}, Target("classes", 3)).parameters())


def test_what_it_cannot_take_is_refused():
    with pytest.raises(ValueError, match="the target is 'scalar': take late or log-pool"):
        EnergyFusion({"a": 3}, Target("scalar", 3))
    with pytest.raises(ValueError, match="each output has the target's size, 3"):
        EnergyFusion({"a": 4}, Target("classes", 3))
