"""Max, against Python's own maximum, number by number."""

import torch

from mmkit.fusions.vectors.max import MaxFusion


def test_takes_the_greatest_of_what_is_there(case, perturbed, same):
    fusion = perturbed(MaxFusion(case.widths, width=6))
    expected = []
    for sample in range(case.batch):
        there = [name for name in case.widths if case.vector(name, sample) is not None]
        terms = [fusion.project[n].weight @ case.vector(n, sample) + fusion.project[n].bias for n in there]
        numbers = [max(term[i].item() for term in terms) if terms else 0.0 for i in range(6)]
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_a_missing_input_is_not_a_zero(make):
    case = make("two", dtype=torch.float32)
    fusion = MaxFusion(case.widths, width=6)
    with torch.no_grad():
        for linear in fusion.project.values():
            linear.weight.zero_()
            linear.bias.fill_(-3)
    fused = fusion(case.features).vector()
    assert (fused[:-1] == -3).all()
    assert (fused[-1] == 0).all()
