"""Product, against a loop over the inputs that are there."""

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
