"""Sum, against a loop over the inputs that are there."""

import torch

from mmkit.fusions.vectors.sum import SumFusion


def test_adds_the_projections_of_what_is_there(case, perturbed, same):
    fusion = perturbed(SumFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        total = torch.zeros(6, dtype=torch.float64)
        for name in case.widths:
            vector = case.vector(name, sample)
            if vector is not None:
                total = total + project(fusion, name, vector)
        expected.append(total)
    same(fusion(case.features).vector(), expected)


def project(fusion, name, vector):
    weight, bias = fusion.project.of(name)
    return weight @ vector + bias
