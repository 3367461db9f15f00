"""Concatenation, against the sum of every input's own columns."""

import torch

from mmkit.fusions.vectors.concat import ConcatFusion


def test_is_the_linear_map_of_what_is_there(case, perturbed, same):
    fusion = perturbed(ConcatFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        total = fusion.mix.bias.clone()
        start = 0
        for name, width in case.widths.items():
            vector = case.vector(name, sample)
            if vector is not None:
                total = total + fusion.mix.weight[:, start : start + width] @ vector
            start += width
        expected.append(total)
    same(fusion(case.features).vector(), expected)


def test_all_missing_is_the_bias_alone(make, perturbed):
    case = make("two")
    fusion = perturbed(ConcatFusion(case.widths, width=6))
    assert torch.equal(fusion(case.features).vector()[-1], fusion.mix.bias)
