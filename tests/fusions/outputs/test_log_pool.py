"""Logarithmic pools, against products of probabilities and means of values over the inputs that are there."""

import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.late import LateFusion
from mmkit.fusions.outputs.log_pool import LogPoolFusion


@pytest.fixture(params=["sum", "mean", "learned"])
def weights(request):
    return request.param


@pytest.fixture
def outputs(case):
    """The case with its widths made alike: the outputs of heads."""
    features = {
        name: Features.of(torch.randn(case.batch, 3, dtype=torch.float64) * 4, each.present())
        for name, each in case.features.items()
    }
    return type(case)(dict.fromkeys(case.widths, 3), features)


def _there(fusion, case, sample):
    """Name and weight of each input that is there."""
    names = [name for name in case.widths if case.vector(name, sample) is not None]
    if fusion.scores is not None:
        each = [math.log1p(fusion.scores[fusion.inputs.index(name)].exp().item()) for name in names]
    else:
        each = [1 / len(names) if fusion.mean else 1.0 for _ in names]
    return list(zip(names, each, strict=True))


def test_classes_are_the_normalised_product_of_probabilities(outputs, perturbed, same, weights):
    fusion = perturbed(LogPoolFusion(outputs.widths, Target("classes", 3), weights=weights))
    expected = []
    for sample in range(outputs.batch):
        product = torch.ones(3, dtype=torch.float64)
        for name, weight in _there(fusion, outputs, sample):
            chances = outputs.vector(name, sample).exp()
            product = product * (chances / chances.sum()) ** weight
        expected.append(product / product.sum())
    same(fusion(outputs.features).vector().softmax(1), expected)


def test_labels_are_the_normalised_product_of_probabilities(outputs, perturbed, same, weights):
    fusion = perturbed(LogPoolFusion(outputs.widths, Target("labels", 3), weights=weights))
    expected = []
    for sample in range(outputs.batch):
        yes = no = torch.ones(3, dtype=torch.float64)
        for name, weight in _there(fusion, outputs, sample):
            chance = 1 / (1 + (-outputs.vector(name, sample)).exp())
            yes, no = yes * chance**weight, no * (1 - chance) ** weight
        expected.append(yes / (yes + no))
    same(fusion(outputs.features).vector().sigmoid(), expected)


def test_scalars_are_the_weighted_mean_of_values(outputs, perturbed, same, weights):
    fusion = perturbed(LogPoolFusion(outputs.widths, Target("scalar", 3), weights=weights))
    expected = []
    for sample in range(outputs.batch):
        there = _there(fusion, outputs, sample)
        total = sum(weight for _, weight in there) or 1.0
        mean = torch.zeros(3, dtype=torch.float64)
        for name, weight in there:
            mean = mean + weight / total * outputs.vector(name, sample)
        expected.append(mean)
    same(fusion(outputs.features).vector(), expected)


def test_one_input_vetoes_where_late_fusion_outvotes_it():
    sure = Features.of(torch.tensor([[-40.0, 0.0, 0.0]]))  # class 0 is impossible
    others = {name: Features.of(torch.tensor([[4.0, 0.0, 0.0]])) for name in "bc"}
    widths, target = dict.fromkeys("abc", 3), Target("classes", 3)
    pooled = LogPoolFusion(widths, target)({"a": sure, **others}).vector().softmax(1)
    averaged = LateFusion(widths, target)({"a": sure, **others}).vector().softmax(1)
    assert pooled[0, 0] < 1e-10
    assert averaged.argmax() == 0


def test_an_input_given_twice_makes_the_sum_surer_and_leaves_the_mean():
    output = Features.of(torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    single = output.vector().softmax(1)
    widths, target = dict.fromkeys("ab", 3), Target("classes", 3)
    twice = {name: LogPoolFusion(widths, target, weights=name)({"a": output, "b": output}) for name in ("sum", "mean")}
    assert (twice["sum"].vector().softmax(1).amax(1) > single.amax(1)).all()
    torch.testing.assert_close(twice["mean"].vector().softmax(1), single)


def test_learned_weights_begin_as_the_sum():
    features = {name: Features.of(torch.randn(5, 3)) for name in "ab"}
    widths, target = dict.fromkeys("ab", 3), Target("classes", 3)
    begun = LogPoolFusion(widths, target, weights="learned")(features).vector()
    torch.testing.assert_close(begun, LogPoolFusion(widths, target)(features).vector())


def test_refuses_what_has_no_pool():
    with pytest.raises(ValueError, match=r"or averages scalars; the target is 'text': take a fusion of features"):
        LogPoolFusion({"a": 3}, Target("text", 3))
    with pytest.raises(ValueError, match=r"each output has the target's size, 4; got \{'a': 3\}"):
        LogPoolFusion({"a": 3}, Target("classes", 4))
