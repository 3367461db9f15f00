"""Tensor fusion, against the sum over every combination of one number from each input."""

import itertools

import pytest
import torch

from mmkit.fusions.vectors.tensor import TensorFusion


@pytest.mark.parametrize("inner", [None, 3])
def test_weighs_every_product_of_one_number_an_input(case, perturbed, same, inner):
    fusion = perturbed(TensorFusion(case.widths, width=2, inner=inner))
    expected = []
    for sample in range(case.batch):
        vectors = [case.filled(name, sample) for name in case.widths]
        if inner is not None:
            vectors = [linear.weight @ vector for linear, vector in zip(fusion.project, vectors, strict=True)]
        lists = [[*vector.tolist(), 1.0] for vector in vectors]
        numbers = fusion.mix.bias.tolist()
        for column, picked in enumerate(itertools.product(*lists)):
            product = 1.0
            for number in picked:
                product *= number
            for h in range(2):
                numbers[h] += fusion.mix.weight[h, column].item() * product
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_refuses_what_its_budget_does_not_hold():
    widths = {"a": 255, "b": 255, "c": 255}
    # 256 ** 3 products and a bias, times 128, and the projections
    with pytest.raises(
        ValueError,
        match=r"3 inputs \(256 x 256 x 256\) to width 128 needs 2,147,678,851 parameters, more than its budget of "
        r"50,000,000: project the inputs to fewer numbers first with `inner`, raise `budget`, or take the low-rank",
    ):
        TensorFusion(widths, inner=255)
    fusion = TensorFusion(widths, inner=8)
    count = sum(parameter.numel() for parameter in fusion.parameters())
    assert count == (9**3 + 1) * 128 + 3 * 255 * 8
    TensorFusion(widths, inner=8, budget=count)
    with pytest.raises(ValueError, match=f"needs {count:,} parameters, more than its budget of {count - 1:,}"):
        TensorFusion(widths, inner=8, budget=count - 1)
