"""The ridge map against the normal equations, and on two spaces that differ by a rotation."""

import pytest
import torch
from torch.nn import functional as F

from mmkit.alignment.ridge import ridge_maps


@pytest.mark.parametrize(("pairs", "width"), [(30, 8), (10, 25)])
def test_it_is_the_solution_of_the_normal_equations(pairs, width):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(pairs, width, generator=generator)
    b = torch.randn(pairs, 6, generator=generator)
    x, y = (F.normalize(side.double(), dim=-1) for side in (a, b))
    x, y = x - x.mean(0), y - y.mean(0)
    count = min(pairs, width)
    for mapped in ridge_maps(a, b, (0.1, 2.0)):
        # Strength is in units of the mean squared singular value.
        penalty = mapped.strength * torch.linalg.svdvals(x).square().sum() / count
        expected = torch.linalg.solve(x.T @ x + penalty * torch.eye(width, dtype=torch.float64), x.T @ y)
        torch.testing.assert_close(mapped.weight, expected)
        torch.testing.assert_close(mapped.of_a(a), x @ expected)
        torch.testing.assert_close(mapped.of_b(b), y)


def test_it_recovers_a_rotation():
    generator = torch.Generator().manual_seed(1)
    a = F.normalize(torch.randn(200, 12, generator=generator, dtype=torch.float64), dim=-1)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    (mapped,) = ridge_maps(a[:150], (a @ turn)[:150], (1e-9,))
    torch.testing.assert_close(mapped.of_a(a[150:]), mapped.of_b((a @ turn)[150:]), atol=1e-6, rtol=0)


def test_more_strength_is_a_smaller_map():
    generator = torch.Generator().manual_seed(2)
    sizes = [m.weight.norm() for m in ridge_maps(torch.randn(20, 5, generator=generator), torch.randn(20, 4))]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 8
