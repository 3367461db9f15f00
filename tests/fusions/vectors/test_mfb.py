"""Factorised bilinear pooling, against its sums one number at a time."""

import math

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.vectors.mfb import MfbFusion
from mmkit.fusions.vectors.product import ProductFusion

H = 6


def _root(number):
    return math.copysign(math.sqrt(abs(number) + 1e-6) - 1e-3, number)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("factors", [1, 3])
@pytest.mark.parametrize("norm", [True, False])
def test_sums_groups_of_products(make, perturbed, same, order, factors, norm):
    case = make("two")
    fusion = perturbed(MfbFusion(case.widths, width=order * H, factors=factors, order=order, norm=norm))
    assert fusion.width == order * H
    expected = []
    for sample in range(case.batch):
        values = []
        for name in case.widths:
            vector, layer = case.vector(name, sample), fusion.project[name]
            ones = [1.0] * (order * H * factors)
            values.append(ones if vector is None else (layer.weight @ vector + layer.bias).tolist())
        numbers, before = [], [1.0] * (H * factors)
        for part in range(order):
            start = part * H * factors
            before = [b * values[0][start + i] * values[1][start + i] for i, b in enumerate(before)]
            z = [sum(before[h * factors : (h + 1) * factors]) for h in range(H)]
            if norm:
                z = [_root(number) for number in z]
                length = math.sqrt(sum(number**2 for number in z))
                z = [number / length for number in z]
            numbers += z
        expected.append(torch.tensor(numbers, dtype=torch.float64))
    same(fusion(case.features).vector(), expected)


def test_each_part_has_length_one(make, perturbed):
    case = make("two")
    fused = perturbed(MfbFusion(case.widths, width=2 * H, order=2))(case.features).vector()
    lengths = fused.unflatten(1, (2, H)).norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=1e-12, atol=1e-12)


def test_of_one_factor_without_norm_it_is_the_product(make, perturbed):
    case = make("two")
    fusion = perturbed(MfbFusion(case.widths, width=H, factors=1, norm=False))
    product = perturbed(ProductFusion(case.widths, width=H))
    product.project.load_state_dict(fusion.project.state_dict())
    assert torch.equal(fusion(case.features).vector(), product(case.features).vector())


def test_dropout_is_of_the_products():
    """Without norm a number is lost with probability p of each of its products; of the second order with both."""
    features = {name: Features.of(torch.rand(64, 4) + 1) for name in "ab"}
    fusion = MfbFusion({"a": 4, "b": 4}, width=100, factors=1, order=2, norm=False, dropout=0.4)
    for parameter in fusion.parameters():
        parameter.data.abs_()  # nothing else is zero
    torch.manual_seed(0)
    first, second = (fusion.train()(features).vector() == 0).double().chunk(2, 1)
    assert float(first.mean()) == pytest.approx(0.4, abs=0.03)  # 3,200 draws: a deviation of 0.9 %
    assert float(second.mean()) == pytest.approx(1 - 0.6**2, abs=0.03)
    assert bool((second >= first).all())


@pytest.mark.parametrize("order", [1, 2])
def test_number_of_parameters(order):
    count = sum(p.numel() for p in MfbFusion({"a": 5, "b": 3}, width=order * H, factors=4, order=order).parameters())
    assert count == order * 4 * H * (8 + 2)


@pytest.mark.parametrize("names", ["a", "abc"])
def test_it_is_for_two(names):
    with pytest.raises(ValueError, match=rf"mfb takes two inputs; got {len(names)} \({', '.join(names)}\): the low-"):
        MfbFusion(dict.fromkeys(names, 2))


def test_the_parts_share_the_width():
    with pytest.raises(ValueError, match="width 7 is not divisible by order 2; take a width that is"):
        MfbFusion({"a": 2, "b": 2}, width=7, order=2)
