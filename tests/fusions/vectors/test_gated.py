"""Gated multimodal unit, against the paper's formulas one number at a time."""

import math

import pytest
import torch

from mmkit.fusions.vectors.gated import GatedFusion


def _sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_every_input_passes_its_own_gate(case, perturbed, same):
    fusion = perturbed(GatedFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        everything = torch.cat([case.filled(name, sample) for name in case.widths])
        numbers = [0.0] * 6
        for m, name in enumerate(case.widths):
            if case.vector(name, sample) is None:
                continue
            for i in range(6):
                value = math.tanh(float(fusion.project[name].weight[i] @ case.vector(name, sample)))
                numbers[i] += _sigmoid(float(fusion.gate.weight[m * 6 + i] @ everything)) * value
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_tied_is_the_form_for_two_inputs(make, perturbed, same):
    case = make("two")
    fusion = perturbed(GatedFusion(case.widths, width=6, tied=True))
    expected = []
    for sample in range(case.batch):
        first, second = (case.filled(name, sample) for name in case.widths)
        numbers = []
        for i in range(6):
            z = _sigmoid(float(fusion.gate.weight[i] @ torch.cat([first, second])))
            h1 = math.tanh(float(fusion.project["image"].weight[i] @ first))
            h2 = math.tanh(float(fusion.project["text"].weight[i] @ second))
            numbers.append(z * h1 + (1 - z) * h2)
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_tied_gates_need_two_inputs():
    with pytest.raises(ValueError, match=r"tied gates are for two inputs; got 3 \(a, b, c\): use tied=false"):
        GatedFusion({"a": 2, "b": 2, "c": 2}, tied=True)
