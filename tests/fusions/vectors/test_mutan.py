"""Tucker fusion with a core of low rank, against its sums one number at a time, and against the full core."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.mutan import MutanFusion
from mmkit.fusions.vectors.product import ProductFusion

M, H = 4, 6


def _linear(layer, numbers):
    bias = [0.0] * len(layer.weight) if layer.bias is None else layer.bias.tolist()
    rows = zip(layer.weight.tolist(), bias, strict=True)
    return [sum(w * n for w, n in zip(row, numbers, strict=True)) + b for row, b in rows]


@pytest.mark.parametrize("rank", [1, 3, None])
@pytest.mark.parametrize("activation", ["none", "tanh"])
def test_sums_the_products_of_the_core(make, perturbed, same, rank, activation):
    case = make("two")
    fusion = perturbed(MutanFusion(case.widths, width=H, inner=M, rank=rank, activation=activation))
    expected = []
    for sample in range(case.batch):
        factors = []
        for name in case.widths:
            vector = case.vector(name, sample)
            if vector is None:
                factors.append([1.0] * (M * (rank or 1)))
                continue
            seen = _linear(fusion.project[name], vector.tolist())
            seen = [math.tanh(number) for number in seen] if activation == "tanh" else seen
            factors.append(_linear(fusion.factors[name], seen) if rank else seen)
        first, second = factors
        if rank:
            z = [sum(first[r * M + i] * second[r * M + i] for r in range(rank)) for i in range(M)]
        else:
            z = _linear(fusion.core, [a * b for a in first for b in second])
        expected.append(torch.tensor(_linear(fusion.mix, z), dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_it_is_a_full_core_that_is_a_sum_of_products(perturbed):
    widths = {"a": 5, "b": 3}
    low = perturbed(MutanFusion(widths, width=H, inner=M, rank=3))
    full = perturbed(MutanFusion(widths, width=H, inner=M, rank=None))
    for layer in low.factors.values():
        layer.bias.zero_()
    first, second = (layer.weight.view(3, M, M) for layer in low.factors.values())
    full.core.weight.copy_(torch.einsum("rki,rkj->kij", first, second).flatten(1))
    full.project.load_state_dict(low.project.state_dict())
    full.mix.load_state_dict(low.mix.state_dict())
    features = {name: Features.of(torch.randn(9, d, dtype=torch.float64)) for name, d in widths.items()}
    torch.testing.assert_close(low(features).vector(), full(features).vector(), rtol=1e-12, atol=1e-12)


def test_of_rank_one_with_factors_that_change_nothing_it_is_the_product(make, perturbed):
    """Followed by a linear layer: low-rank bilinear pooling."""
    case = make("two")
    fusion = perturbed(MutanFusion(case.widths, width=H, inner=M, rank=1))
    product = perturbed(ProductFusion(case.widths, width=M))
    product.project.load_state_dict(fusion.project.state_dict())
    for layer in fusion.factors.values():
        layer.weight.copy_(torch.eye(M))
        layer.bias.zero_()
    expected = fusion.mix(product(case.features).vector())
    torch.testing.assert_close(fusion(case.features).vector(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 5, None])
def test_number_of_parameters(rank):
    count = sum(p.numel() for p in MutanFusion({"a": 5, "b": 3}, width=H, inner=M, rank=rank).parameters())
    core = M**3 if rank is None else 2 * (M * M + M) * rank
    assert count == (8 + 2) * M + core + (M + 1) * H


@pytest.mark.parametrize("names", ["a", "abc"])
def test_it_is_for_two(names):
    with pytest.raises(ValueError, match=rf"mutan takes two inputs; got {len(names)} \({', '.join(names)}\): the low-"):
        MutanFusion(dict.fromkeys(names, 2))
