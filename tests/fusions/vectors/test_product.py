"""Product, against a loop over the inputs that are there."""

import math

import pytest
import torch

from mmkit.fusions.vectors.product import ProductFusion


def test_multiplies_the_projections_of_what_is_there(case, perturbed, same):
    fusion = perturbed(ProductFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        product = torch.ones(6, dtype=torch.float64)
        for name in case.widths:
            vector = case.vector(name, sample)
            if vector is not None:
                product = product * (fusion.project[name].weight @ vector + fusion.project[name].bias)
        expected.append(product)
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize("activation", ["none", "tanh"])
@pytest.mark.parametrize("output", [False, True])
def test_activation_and_output_layer(case, perturbed, same, activation, output):
    fusion = perturbed(ProductFusion(case.widths, width=6, activation=activation, output=output))
    expected = []
    for sample in range(case.batch):
        numbers = [1.0] * 6
        for name in case.widths:
            vector = case.vector(name, sample)
            if vector is None:
                continue
            for i in range(6):
                value = float(fusion.project[name].weight[i] @ vector + fusion.project[name].bias[i])
                numbers[i] *= math.tanh(value) if activation == "tanh" else value
        product = torch.tensor(numbers, dtype=torch.float64)
        expected.append(fusion.output.weight @ product + fusion.output.bias if output else product)
    same(fusion(case.features).vector(), expected)


@pytest.mark.parametrize("widths", [{"a": 5}, {"a": 5, "b": 3}, {"a": 5, "b": 3, "c": 4}])
def test_number_of_parameters(widths):
    m, s, h = len(widths), sum(widths.values()), 6
    assert sum(p.numel() for p in ProductFusion(widths, width=h).parameters()) == (s + m) * h
    with_output = ProductFusion(widths, width=h, activation="tanh", output=True)
    assert sum(p.numel() for p in with_output.parameters()) == (s + m) * h + (h + 1) * h
