"""Mean, against a loop over the inputs that are there."""

import torch

from mmkit.fusions.vectors.mean import MeanFusion


def test_averages_the_projections_of_what_is_there(case, perturbed, same):
    fusion = perturbed(MeanFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        there = [name for name in case.widths if case.vector(name, sample) is not None]
        terms = [project(fusion, n, case.vector(n, sample)) for n in there]
        expected.append(sum(terms) / len(terms) if terms else torch.zeros(6, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def project(fusion, name, vector):
    weight, bias = fusion.project.of(name)
    return weight @ vector + bias
